"""The plots of RESULTS.md: one for each table that somebody who chooses a cache would look at."""

import svg
from parts.functions import KEYS
from parts.http import LATENCIES, OF_4K, OTHERS, RUST, SIZES, sizes
from parts.memory import CACHES, ENTRIES, KEPT
from parts.scale import CALLS as CLUSTERED
from parts.scale import RATES
from tables import CALLS, KEPT_BY, READS, TRACES
from wording import SIZES as TITLES
from wording import count, name, number


def draw(results):
    """Yields the name and the text of each plot for which there are figures."""
    drawings = [
        ("http", "overview", overview), ("http", "hits", hits), ("http", "latencies", latencies),
        ("functions", "functions", functions), ("functions", "keys", keys), ("stores", "stores", stores),
        ("stores", "round-trips", round_trips), ("memory", "memory", memory), ("memory", "hit-ratio", hit_ratio),
        ("scale", "late-tags", late_tags), ("scale", "cluster", cluster),
    ]
    for part, title, drawing in drawings:
        drawn = results.part(part) and drawing(results)
        if drawn:
            yield title, drawn


def kind_of(subject):
    if subject.startswith("larder"):
        return "ours"
    return "base" if subject == "bare" or subject.startswith("floor") else "other"


def hits_of(results, size, subjects):
    rows = []
    for subject in subjects:
        rate = results.median("http", f"{subject}/{size}") if size in sizes(subject) else None
        if rate:
            rows.append((name(subject), rate, number(rate), kind_of(subject)))
    return sorted(rows, key=lambda row: -row[1])


def overview(results):
    """The plot of the README."""
    subjects = [subject for subject in RUST + OTHERS + OF_4K if not subject.startswith("floor")]
    note = "A list of 100 objects, 4 KiB of JSON. One core for the server, 32 connections. Longer is better."
    return svg.bars("Hits a second", note, [("", hits_of(results, "4k", subjects))])


def hits(results):
    panels = [(TITLES[size], hits_of(results, size, RUST + OTHERS + OF_4K)) for size in SIZES]
    return svg.bars("Hits a second, by size", "One core for the server, 32 connections. Longer is better.", panels)


def latencies(results):
    kinds = {"bare": "base", "larder": "ours", "larder-redis-near": "peer5", "axum-response-cache": "peer0",
             "tower-http-cache": "peer1", "hitbox": "peer2", "nginx": "peer3", "varnish": "peer4"}
    series = []
    for subject, kind in kinds.items():
        figures = [results.median("http", f"{subject}/4k/p{percentile}") for percentile in LATENCIES]
        if any(figures):
            series.append((name(subject), figures, kind))
    panel = ("µs until the answer, 4 KiB JSON", [f"p{percentile}" for percentile in LATENCIES], count, "log", series)
    note = "32 connections that ask again as soon as they have an answer. Lower is better."
    return svg.lines("Latency of hits, by percentile", note, [panel], height=300)


def functions(results):
    rows = []
    for subject in results.part("functions").get("subjects", {}):
        time = results.median("functions", subject)
        if subject.startswith("functions/") and time:
            title = subject.split("/", 1)[1]
            ours = not title.startswith(("cached 4", "moka", "quick_cache"))
            rows.append((title, time, f"{number(time)} ns", "ours" if ours else "other"))
    rows.sort(key=lambda row: row[1])
    return svg.bars("A hit in the process", "Shorter is better.", [("", rows)], label_width=320)


def keys(results):
    kinds = ["ours", "peer5", "peer0", "peer1"]
    series = []
    for subject, kind in zip(READS, kinds):
        times = [results.median("functions", f"keys {keys}/{subject}") for keys in KEYS]
        series.append((subject, [1e3 / time if time else None for time in times], kind))
    panel = ("million reads a second", [f"{count(keys)} keys" for keys in KEYS], count, "zero", series)
    return svg.lines("Reads by number of keys", "Zipf distribution, one thread. Higher is better.", [panel])


def stores(results):
    panels = []
    for title, part, subjects in [
        ("Redis, reads", "redis", ["fred: GET", "Backend::get", "Cache::get"]),
        ("Redis, writes", "redis", ["fred: SET PX", "Backend::set", "Cache::set"]),
        ("memcached, reads", "memcached", ["memcache-async: get", "Backend::get", "Cache::get"]),
        ("memcached, writes", "memcached", ["memcache-async: set and version", "Backend::set", "Cache::set"]),
    ]:
        rows = []
        for subject in subjects:
            time = results.median("stores", f"{part}/{subject}")
            if time:
                kind = "ours" if subject.startswith(("Backend", "Cache")) else "other"
                rows.append((subject, 1e6 / time, number(1e6 / time), kind))
        panels.append((title, rows))
    for way in ["one by one", "32 at once"]:
        rows = []
        for subject, kind in [("fred: GET and SET PX", "other"), ("fred: lease and fenced fill by hand", "other"),
                              ("get_or_load", "ours")]:
            time = results.median("stores", f"misses/{subject}, {way}")
            if time:
                rows.append((subject, 1e6 / time, number(1e6 / time), kind))
        panels.append((f"Redis, misses with lease and fenced fill, {way}", rows))
    return svg.bars("Calls of a store a second", "Values of 1 KiB. Longer is better.", panels)


def round_trips(results):
    panels = []
    for store, title in [("redis", "Redis"), ("memcached", "memcached")]:
        rows = []
        for call in CALLS:
            trips = results.median("stores", f"trips-{store}/{call}")
            if trips is not None:
                rows.append((call, trips, f"{trips:.3g}", "ours"))
        panels.append((title, rows))
    return svg.bars("Round trips of a call, on the wire", "Shorter is better.", panels)


def memory(results):
    kinds = ["ours", "peer5", "peer0", "peer4", "peer1"]
    series = [(cache, [results.median("memory", f"{entries}/{cache}/resident") for entries in ENTRIES], kind)
              for cache, kind in zip(CACHES, kinds)]
    labels = [f"{count(entries)} entries" for entries in ENTRIES]
    panel = ("bytes an entry over key and value, resident", labels, count, "zero", series)
    return svg.lines("Memory by number of entries", "Values of 100 bytes. Lower is better.", [panel])


def hit_ratio(results):
    kinds = ["ours", "base", "peer0", "peer1"]
    panels = []
    for trace in TRACES:
        series = [(cache, [results.median("memory", f"hit ratio {entries}/{trace}/{cache}") for entries in KEPT], kind)
                  for cache, kind in zip(KEPT_BY, kinds)]
        panels.append((trace, [count(entries) for entries in KEPT], lambda tick: f"{tick:.2f}", "near", series))
    note = "By the number of entries that fit, of 100 k keys. Higher is better."
    return svg.lines("Hit ratio by size of the cache", note, panels, columns=2, height=190)


def late_tags(results):
    labels = [f"{count(rate)}/s" for rate in RATES]
    ratios = [results.median("scale", f"late tags {rate}/hit ratio") for rate in RATES]
    unstored = [results.median("scale", f"late tags {rate}/loads not stored") for rate in RATES]
    panels = [(title, labels, lambda tick: f"{tick:.0%}", "zero", [("Larder, Redis", figures, "ours")])
              for title, figures in [("hit ratio", ratios), ("loads not stored", unstored)]]
    return svg.lines("A route with late tags, by unrelated invalidations", "", panels, columns=2, height=220)


def cluster(results):
    panels = []
    for call, subjects in CLUSTERED.items():
        rows = []
        for subject in subjects:
            for where, title in [("one", "one Redis"), ("cluster", "Cluster")]:
                time = results.median("scale", f"cluster/{call}/{subject}/{where}")
                if time:
                    kind = "other" if subject.startswith("fred") else "ours"
                    rows.append((f"{subject}, {title}", 1e6 / time, number(1e6 / time), kind))
        if rows:
            panels.append((call, rows))
    note = "All masters on one core, as the one Redis. Values of 1 KiB. Longer is better."
    return svg.bars("Calls of a Redis Cluster a second", note, panels) if panels else None
