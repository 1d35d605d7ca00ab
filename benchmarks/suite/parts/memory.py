"""What entries take, and which are kept."""

from concurrent.futures import ThreadPoolExecutor

from cores import LOAD, SERVER
from processes import Failure, figures
from record import Part

CACHES = ["memory store", "memory store, with a lifetime", "moka", "moka, with a lifetime", "quick_cache"]
ENTRIES = [10_000, 100_000, 1_000_000]
VALUES = [100, 1_000, 20_000]
BOUND = 128 << 20
KEPT = [300, 1_000, 3_000, 10_000, 30_000]


def run(quick):
    rounds = 1 if quick else 3
    entries = ENTRIES[:2] if quick else ENTRIES
    kept = KEPT[1:2] if quick else KEPT
    part = Part({"rounds": rounds})
    for number in range(rounds):
        print(f"memory: round {number + 1} of {rounds}", flush=True)
        for count in entries:
            for cache in CACHES:
                measure(part, f"{count}/{cache}", "footprint", "entries", cache, count)
        for size in VALUES:
            measure(part, f"bound {size}", "footprint", "bound", size, BOUND)
    print("memory: hit ratio", flush=True)

    # Nothing is timed here, so both cores work.
    def ratios(number_and_count):
        number, count = number_and_count
        try:
            return figures([SERVER, LOAD][number % 2], "hit_ratio", count)
        except Failure as failure:
            return failure

    with ThreadPoolExecutor(2) as both:
        for count, found in zip(kept, both.map(ratios, enumerate(kept))):
            if isinstance(found, Failure):
                part.fail(f"hit ratio {count}", found)
                continue
            for trace, ratio in found.items():
                part.note(f"hit ratio {count}/{trace}", ratio)
    return part


def measure(part, subject, *arguments):
    try:
        for kind, figure in figures(LOAD, *arguments).items():
            part.note(f"{subject}/{kind}", figure)
    except Failure as failure:
        part.fail(subject, failure)
