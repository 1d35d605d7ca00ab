"""What stays cheap when there is much of it, on Redis, and what a Cluster costs."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

from containers import REDIS, Cluster, Container
from cores import LOAD, SERVER
from processes import Failure, figures
from record import Part

RATES = [0, 10, 100, 1_000]
PROCESSES = [1, 2, 4, 8]
ENTRIES = [10, 1_000, 100_000, 1_000_000]
# Calls, and who makes them: the first is that of the client alone, if it has one.
CALLS = {
    "reads": ["fred: GET", "Cache::get", "Cache::get, two tags"],
    "writes": ["fred: SET PX", "Cache::set", "Cache::set, two tags"],
    "misses, one by one": ["fred: GET and SET PX", "get_or_load"],
    "misses, 32 at once": ["fred: GET and SET PX", "get_or_load"],
    "invalidations, one by one": ["invalidate_tag"],
    "invalidations, 32 at once": ["invalidate_tag"],
}


def run(quick):
    rounds, seconds = (1, 2) if quick else (3, 4)
    part = Part({"rounds": rounds, "seconds": seconds})
    try:
        store = Container(REDIS, SERVER)
    except Failure as failure:
        part.fail("redis", failure)
        return part
    try:
        for number in range(rounds):
            print(f"scale: round {number + 1} of {rounds}", flush=True)
            for rate in RATES:
                late_tags(part, store, rate, seconds)
            for count in PROCESSES:
                reads(part, store, count, seconds)
        for entries in ENTRIES[:2] if quick else ENTRIES:
            print(f"scale: {entries} entries", flush=True)
            for way in ["scan", "epoch"]:
                clear(part, store, way, entries)
        beside_cluster(part, store, rounds, seconds)
    finally:
        store.stop()
    return part


def stats(store):
    """Returns how many commands Redis has carried out, and how many keys it holds."""
    commands = re.search(r"total_commands_processed:(\d+)", store.ask(b"INFO stats\r\n"))
    keys = re.search(r":(\d+)", store.ask(b"DBSIZE\r\n"))
    return int(commands.group(1)), int(keys.group(1))


def late_tags(part, store, rate, seconds):
    subject = f"late tags {rate}"
    try:
        store.empty()
        before, _ = stats(store)
        for kind, figure in figures(LOAD, "scale", "late-tags", store.address, rate, seconds).items():
            part.note(f"{subject}/{kind}", figure)
        after, records = stats(store)
        part.note(f"{subject}/commands a second", (after - before) / seconds)
        part.note(f"{subject}/records", records)
    except Failure as failure:
        part.fail(subject, failure)


def reads(part, store, count, seconds):
    """Starts processes that read the same keys, all on the core that Redis does not use."""
    subject = f"processes {count}"
    try:
        store.empty()
        start = time.time() + 1 + 0.2 * count
        arguments = ["reads", store.address, seconds, f"reads-{start}", start]
        with ThreadPoolExecutor(count) as all_:
            found = list(all_.map(lambda _: figures(LOAD, "scale", *arguments), range(count)))
        for kind in found[0]:
            part.note(f"{subject}/{kind}", sum(process[kind] for process in found))
        # One record for each key that was loaded: the rest was loaded twice.
        part.note(f"{subject}/keys", stats(store)[1])
    except Failure as failure:
        part.fail(subject, failure)


def clear(part, store, way, entries):
    subject = f"{way} {entries}"
    try:
        store.empty()
        for kind, figure in figures(LOAD, "scale", "clear", way, store.address, entries).items():
            part.note(f"{subject}/{kind}", figure)
    except Failure as failure:
        part.fail(subject, failure)


def beside_cluster(part, store, rounds, seconds):
    """Makes the same calls on one Redis and on a Cluster, which starts only now, to disturb nothing else."""
    try:
        cluster = Cluster(SERVER)
    except Failure as failure:
        part.fail("cluster", failure)
        return
    try:
        for number in range(rounds):
            print(f"scale: Cluster, round {number + 1} of {rounds}", flush=True)
            store.empty()
            cluster.empty()
            arguments = [f"redis://{store.address}", cluster.url, 2 * seconds]
            for subject, figure in figures(LOAD, "cluster", *arguments).items():
                part.note(f"cluster/{subject}", figure)
            if not all(stats(node)[1] for node in cluster.nodes):
                raise Failure("not every master of the Cluster has records")
    except Failure as failure:
        part.fail("cluster", failure)
    finally:
        cluster.stop()
