"""The stores beside their clients: server and client on a core each."""

from containers import MEMCACHED, REDIS, Container
from cores import LOAD, SERVER
from processes import Failure, figures
from record import Part


def run(quick):
    rounds, seconds = (1, 1) if quick else (7, 3)
    part = Part({"rounds": rounds, "seconds": seconds})
    containers = {}
    try:
        for name, store in [("redis", REDIS), ("memcached", MEMCACHED)]:
            try:
                containers[name] = Container(store, SERVER)
            except Failure as failure:
                part.fail(name, failure)
        for number in range(rounds):
            print(f"stores: round {number + 1} of {rounds}", flush=True)
            for command, store in [("redis", "redis"), ("misses", "redis"), ("memcached", "memcached")]:
                if store in containers:
                    measure(part, command, containers[store], seconds)
        for store, container in containers.items():
            measure(part, f"trips-{store}", container)
    finally:
        for container in containers.values():
            container.stop()
    return part


def measure(part, command, container, *arguments):
    if part.has_failed(command):
        return
    try:
        for subject, figure in figures(LOAD, "stores", command, container.address, *arguments).items():
            part.note(f"{command}/{subject}", figure)
        if command in ("redis", "misses"):
            container.empty()
    except Failure as failure:
        part.fail(command, failure)
