"""Hits within a process, in nanoseconds and in instructions."""

from cores import LOAD
from processes import ROOT, Failure, figures, output
from record import Part

KEYS = [1_000, 10_000, 100_000, 1_000_000]


def run(quick):
    rounds, seconds = (1, 0.3) if quick else (9, 1)
    keys = KEYS[:2] if quick else KEYS
    part = Part({"rounds": rounds, "seconds": seconds})
    for number in range(rounds):
        print(f"functions: round {number + 1} of {rounds}", flush=True)
        measure(part, "router", seconds)
        measure(part, "functions", 2 * seconds)
        # Filling a million entries takes longer than reading them.
        if number < 3:
            for count in keys:
                measure(part, "keys", seconds, count)
    count_instructions(part)
    return part


def measure(part, group, *arguments):
    prefix = f"{group} {arguments[1]}" if len(arguments) > 1 else group
    try:
        for subject, figure in figures(LOAD, "functions", group, *arguments).items():
            part.note(f"{prefix}/{subject}", figure)
    except Failure as failure:
        part.fail(prefix, failure)


def count_instructions(part):
    """Counts by scripts/hit-cost, which fails if a count is above the recorded one: the figures stand all the same."""
    print("functions: instructions", flush=True)
    try:
        text = output(["bash", "-c", f"'{ROOT}/scripts/hit-cost' || true"], timeout=3_600)
        rows = [line.split() for line in text.splitlines()]
        counts = {row[0]: row for row in rows if len(row) > 2 and row[1].isdigit()}
        for kind in ["router", "layer", "get_or_load", "keyed", "hashed"]:
            if kind not in counts:
                raise Failure("scripts/hit-cost printed no counts")
            numbers = [int(field) for field in counts[kind] if field.isdigit()]
            part.note(f"instructions/{kind}", numbers[0])
            part.note(f"allocations/{kind}", numbers[1])
    except Failure as failure:
        part.fail("instructions", failure)
