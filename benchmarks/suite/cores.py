"""The two cores: one for the server, one for the load. Nothing else should run on them."""

import os


def pick():
    """Returns the core of the server and that of the load. BENCH_CORES=3,4 names others than the first two."""
    named = os.environ.get("BENCH_CORES")
    cores = [int(core) for core in named.split(",")] if named else sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("bench: error: the benchmarks need two cores")
    return cores[0], cores[1]


SERVER, LOAD = pick()


def pinned(core, command):
    return ["taskset", "-c", str(core), *command]
