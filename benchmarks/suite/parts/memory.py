"""What entries take, and which are kept."""

from concurrent.futures import ThreadPoolExecutor

import traces
from cores import LOAD, SERVER
from processes import Failure, figures
from record import Part

CACHES = ["memory store", "memory store, with a lifetime", "moka", "moka, with a lifetime", "quick_cache"]
ENTRIES = [10_000, 100_000, 1_000_000]
VALUES = [100, 1_000, 20_000]
BOUND = 128 << 20
KEPT = [300, 1_000, 3_000, 10_000, 30_000]
# Of the keys of a public trace.
SHARES = [0.01, 0.03, 0.1]


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
    runs = [(f"hit ratio {count}", [count]) for count in kept]
    for trace in traces.TRACES:
        try:
            file, keys = traces.convert(trace)
        except Failure as failure:
            part.fail(f"public trace/{trace}", failure)
            continue
        for share in SHARES[:1] if quick else SHARES:
            runs.append((f"public trace {share:.0%}/{trace}", [round(share * keys), file]))
            part.note(f"public trace {share:.0%}/{trace}/entries", round(share * keys))
    hit_ratios(part, runs)
    return part


def hit_ratios(part, runs):
    # Nothing is timed here, so both cores work.
    def ratios(number_and_run):
        number, (_, arguments) = number_and_run
        try:
            return figures([SERVER, LOAD][number % 2], "hit_ratio", *arguments)
        except Failure as failure:
            return failure

    with ThreadPoolExecutor(2) as both:
        for (subject, _), found in zip(runs, both.map(ratios, enumerate(runs))):
            if isinstance(found, Failure):
                part.fail(subject, found)
                continue
            for name, ratio in found.items():
                part.note(f"{subject}/{name}", ratio)


def measure(part, subject, *arguments):
    try:
        for kind, figure in figures(LOAD, *arguments).items():
            part.note(f"{subject}/{kind}", figure)
    except Failure as failure:
        part.fail(subject, failure)
