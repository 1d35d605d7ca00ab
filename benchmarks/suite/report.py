"""Writes RESULTS.md and the plots from the figures."""

from pathlib import Path

import plots
import tables
from goals import goals
from record import Results
from traces import NAME

FOLDER = Path(__file__).resolve().parents[1]


def write(results):
    results = Results(results)
    (FOLDER / "plots").mkdir(exist_ok=True)
    for name, text in plots.draw(results):
        (FOLDER / "plots" / f"{name}.svg").write_text(text)
    (FOLDER / "RESULTS.md").write_text(text_of(results))


def plot(name, alternative):
    return f"![{alternative}](plots/{name}.svg)" if (FOLDER / "plots" / f"{name}.svg").exists() else ""


def text_of(results):
    quick = sorted(name for name, part in results.results.items() if part.get("quick"))
    goals_table, met, all_ = goals(results)
    late, processes, cleared = tables.scale(results)
    public, cluster = tables.public_traces(results), tables.cluster(results)
    parts, machine, versions = tables.machine(results)
    failures = [f"- {part}, {subject}: {reason}" for part, subject, reason in results.failures()]
    sections = [
        "# Results",
        "Written by `scripts/bench` from [results.json](results.json); edits here are lost. Ratios come first, since "
        "absolute figures depend on the machine. A figure is the median of the rounds; in brackets are the least and the "
        "greatest. [How it is measured](#how-it-is-measured) says what was compared with what.",
        f"**These parts come from a quick run, which shows that everything works and not how fast it is: {', '.join(quick)}.**"
        if quick else "",
        "\n".join(["**These subjects failed:**", "", *failures]) if failures else "",
        "## Goals",
        f"{met} of {all_} are met.",
        goals_table,
        "### Limits",
        LIMITS,
        "## Hits over HTTP",
        "`scripts/bench http`. Server and load have a core each, and 32 connections ask again as soon as they have an answer. "
        "*axum route with a hit's header fields* sends the same fields as a hit from a route without a cache: the limit of "
        "hyper and the kernel for such a response. If *server's core busy* is clearly below 100 %, the load was the limit, "
        "and the server is faster than it looks.",
        plot("hits", "Hits a second by size of the response, for Larder and its peers"),
        tables.http(results),
        "### Latencies",
        plot("latencies", "Latency of hits by percentile"),
        tables.latencies(results),
        "## Functions and values",
        "`scripts/bench functions`. One after another in one thread.",
        plot("functions", "Nanoseconds of a hit in the process"),
        tables.functions(results),
        "### Throughput by number of keys",
        "Million reads a second in one thread, of keys by a Zipf distribution (exponent 1.0).",
        plot("keys", "Million reads a second by number of keys"),
        tables.throughput(results),
        "## Stores",
        "`scripts/bench stores`. Server and client have a core each. Values of 1 KiB. `Backend` is the store's crate alone, and "
        "`Cache` the engine on it.",
        plot("stores", "Calls of Redis and memcached a second"),
        tables.stores(results),
        "### Round trips",
        "Counted on the wire, as the average of 200 calls one after another. The two tags of *hit, two tags* are declared "
        "by the handle.",
        plot("round-trips", "Round trips of a call"),
        tables.trips(results),
        "## Memory",
        "`scripts/bench memory`. Entries of 100 bytes, each cache in a process of its own. *Resident* is what the process takes "
        "from the system; the second table writes three times as many bytes as may stay.",
        plot("memory", "Bytes an entry takes by number of entries"),
        tables.memory(results),
        "### Hit ratio",
        "A million reads of 100,000 keys, generated with fixed seeds; what is missed is stored. *Scans* read as many keys as "
        "entries fit, once each. The *loop* has twice as many keys as entries fit. In *shifting* traces every key rises by "
        "one rank every 100, 30 or 10 reads, and the first one leaves.",
        plot("hit-ratio", "Hit ratio by size of the cache, on eight traces"),
        tables.hit_ratio(results),
        PUBLIC if public else "",
        public,
        "## At scale",
        "`scripts/bench scale`, on one Redis, and at the end on a Cluster.",
        "A route whose tags are known only after the load (1,000 URLs by a Zipf distribution, fresh for 2 s, 20 ms a load), "
        "while another process invalidates tags that no entry has:",
        plot("late-tags", "Hit ratio of a route with late tags by unrelated invalidations a second"),
        late,
        "Processes that read the same 10,000 keys from the first moment on, all on one core:",
        processes,
        "A namespace is cleared, and the tag of all its entries is invalidated:",
        cleared,
        CLUSTER if cluster else "",
        plot("cluster", "Calls of one Redis and of a Redis Cluster a second") if cluster else "",
        cluster,
        "## How it is measured",
        HOW,
        parts,
        machine,
        versions,
        "### Left out",
        LEFT_OUT,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


LIMITS = """\
What stands between a figure and its goal:

- **A hit over HTTP** sends header fields that the bare route does not have (`ETag`, `Age`, `Cache-Control`, `Cache-Status` and
  others). *axum route with a hit's header fields* sends the same fields without a cache. No cache on hyper is faster than
  that, so `Larder, memory` can reach its ratio, and not 1.
- **Nanoseconds** are goals of the machine of 2026-11-26. The table of [functions](#functions-and-values) has the peers of
  the same run, which tell how this machine compares.
- **A call of a store** goes through the client, whose own part is by far the largest. fred makes a system call for most
  commands; from 24 calls in flight on, Larder hands them to fred together, and conditional writes as one call of their script, so it
  can be faster than fred called by many tasks.
  A `Backend` is used as a trait object, so the future of a call is boxed. `Cache` adds the time limit, the circuit breaker and
  the envelope with its checksum. Memcached cannot list its keys, so each call of `Cache` also reads the epochs by which its
  namespace and its prefix are cleared: three keys in place of one, in the same round trip.
- **A miss on Redis** is two calls. *fred: lease and fenced fill by hand* makes the same two without anything else. The rest is
  what a load has beside them: a flight that others wait on, a task that outlives its caller, and the renewal of the lease.
- **The layer over Redis** has the client of Redis on the core of the HTTP server, which pays for both."""

PUBLIC = f"""\
On public traces, with entries for a share of the keys that occur. They are the samples in the source archive of the package
{NAME} of PyPI: a million requests to a cluster of caches at Twitter, and 114 thousand to a virtual disk, recorded by
CloudPhysics. They are short: 14 % and 43 % of the requests are the first for their key, which no cache can hit, and the package
itself warns that they are too small to compare algorithms by."""

CLUSTER = """\
The same calls on one Redis and on a Cluster of three masters. The masters share the core that the one Redis has, so this
shows what a Cluster costs, and not what more machines add. Values of 1 KiB, two connections to each server, 64 tasks for reads
and writes. Misses of `get_or_load` have a lease and a fenced fill. Keys and tags are spread over the Cluster. There, Larder
reads and takes leases by scripts: fred would take a foreign value that reads like a redirection for one, and may repeat a
write."""

HOW = """\
`scripts/bench` installs and builds everything, and runs all parts. `scripts/bench http` (or `functions`, `stores`, `memory`,
`scale`) measures one part again, and keeps the figures of the others. `scripts/bench report` only writes this page again.

- **Interleaved.** In each round, every subject is measured once. Ratios are formed within a round, so that a slow moment
  of the machine affects both sides.
- **Pinned.** `taskset` gives server and load a core each. For *Larder, Redis* the Redis shares the core of the load, which
  has time left.
- **Checked.** Each server must answer the right number of bytes, and must not run its handler for a second request.
- **HTTP**: `wrk -t1 -c32 -d1s --latency`. The 4 KiB are a JSON list of 100 objects. Every Rust server is `axum::serve` on
  tokio's default runtime with `TCP_NODELAY`. nginx has one worker, `proxy_cache` in shared memory, `open_file_cache` and
  no access log. Varnish has `-s malloc`. fastapi-cache has its memory backend under one uvicorn with uvloop and
  httptools. hitbox has moka and bincode.
- **Functions**: turns of 200 calls; the median of the turns of a round. Instructions and allocations: `scripts/hit-cost`.
- **Stores**: Redis and memcached from the images of `scripts/stores`, on the network of the host. fred and Larder have two
  connections to Redis. To memcached, memcache-async has 16, one for each task, and Larder shares those that it needs.
  memcache-async does not wait until a write is acknowledged, so the peer of an acknowledged write is *set and version* in
  one session.
- **Builds**: `cargo build --release` with cargo's defaults. The peers have a [workspace](peers/Cargo.toml) and a lock file
  of their own."""

LEFT_OUT = """\
- http-cache-tower caches what a client fetches, and not the responses of a server.
- actix, salvo and poem have caching layers of their own, which do not run on axum."""
