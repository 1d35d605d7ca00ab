"""The tables of RESULTS.md."""

from parts.functions import KEYS
from parts.http import LATENCIES, OF_4K, OTHERS, RUST, SIZES, sizes
from parts.memory import CACHES, ENTRIES, KEPT, SHARES, VALUES
from parts.scale import CALLS as CLUSTERED
from parts.scale import ENTRIES as CLEARED
from parts.scale import PROCESSES, RATES
from traces import TRACES as PUBLIC
from wording import SIZES as TITLES
from wording import count, name, number, share, spread, table

SUBJECTS = RUST + OTHERS + OF_4K


def failed_or(results, part, subject, text):
    return "failed" if results.failure(part, subject) else text


def http(results):
    blocks = []
    for size in SIZES:
        rows = []
        for subject in SUBJECTS:
            if size not in sizes(subject):
                continue
            key = f"{subject}/{size}"
            rows.append([
                name(subject),
                failed_or(results, "http", key, spread(results.ratio("http", key, f"bare/{size}"))),
                spread(results.ratio("http", f"larder/{size}", key)),
                spread(results.values("http", key)),
                share(results.median("http", f"{key}/busy")),
            ])
        head = [TITLES[size], "/ route without a cache", "Larder, memory / it", "requests a second",
                "server's core busy"]
        blocks.append(table(head, rows))
    return "\n\n".join(blocks)


def latencies(results):
    rows = []
    for subject in SUBJECTS:
        figures = [results.median("http", f"{subject}/4k/p{percentile}") for percentile in LATENCIES]
        if any(figures):
            rows.append([name(subject), *(number(figure) for figure in figures)])
    return table(["µs, 4 KiB JSON", *(f"p{percentile}" for percentile in LATENCIES)], rows)


def functions(results):
    ours = 'functions/#[cached], key "user:{id}"'
    rows = []
    for subject in results.part("functions").get("subjects", {}):
        if subject.startswith("functions/"):
            title = subject.split("/", 1)[1]
            ratio = results.ratio("functions", ours, subject)
            time = failed_or(results, "functions", subject, spread(results.values("functions", subject)))
            rows.append([title, spread(ratio), time])
    first = table(["hit", '`#[cached]`, key `"user:{id}"` / it', "ns"], rows)
    rows = []
    for kind, title in [("router", "the bare router, with request and response"), ("layer", "the same with the layer"),
                        ("keyed", '`#[cached]`, key `"user:{id}"`'), ("hashed", "`#[cached]`, arguments hashed"),
                        ("get_or_load", "`get_or_load`")]:
        rows.append([title, number(results.median("functions", f"instructions/{kind}")),
                     number(results.median("functions", f"allocations/{kind}"))])
    second = table(["hit", "instructions", "allocations"], rows)
    pairs = results.values("functions", "router/bare"), results.values("functions", "router/layer")
    third = table(["in process", "ns"], [
        ["the bare router, with request and response", spread(pairs[0])],
        ["the same with the layer", spread(pairs[1])],
        ["the difference", spread([layer - bare for bare, layer in zip(*pairs)])],
    ])
    return "\n\n".join([first, third, second])


READS = ["Cache::get", "Cache::get_or_load", "moka: get", "quick_cache: get"]


def throughput(results):
    rows = []
    for keys in KEYS:
        times = [results.median("functions", f"keys {keys}/{subject}") for subject in READS]
        rows.append([count(keys), *(number(1e3 / time if time else None) for time in times)])
    return table(["keys", *(f"`{subject}`" for subject in READS)], rows)


def stores(results):
    blocks = []
    for part, first, title in [
        ("redis", "fred: GET", "Redis, reads, 64 tasks, 2 connections"),
        ("redis", "fred: SET PX", "Redis, writes, 64 tasks, 2 connections"),
        ("memcached", "memcache-async: get", "memcached, reads, 16 tasks"),
        ("memcached", "memcache-async: set and version", "memcached, writes, 16 tasks"),
    ]:
        kind = "get" if "get" in first.lower() else "set"
        rows = []
        for subject in [first, f"Backend::{kind}", f"Cache::{kind}"]:
            key = f"{part}/{subject}"
            times = results.values("stores", key)
            rows.append([subject, failed_or(results, "stores", key,
                                            spread(results.ratio("stores", f"{part}/{first}", key))),
                         spread([1e6 / time for time in times])])
        blocks.append(table([title, f"/ {first}", "a second"], rows))
    for way in ["one by one", "32 at once"]:
        rows = []
        first = f"misses/fred: GET and SET PX, {way}"
        for subject in ["fred: GET and SET PX", "Backend: get and set", "fred: lease and fenced fill by hand",
                        "get_or_load"]:
            key = f"misses/{subject}, {way}"
            rows.append([subject, spread(results.ratio("stores", key, first)), spread(results.values("stores", key))])
        blocks.append(table([f"Redis, misses, {way}", "time / GET and SET", "µs each"], rows))
    return "\n\n".join(blocks)


CALLS = ["hit", "hit, two tags", "miss", "miss, two tags", "set", "invalidate", "invalidate a tag"]


def trips(results):
    rows = []
    for call in CALLS:
        rows.append([call, *(number(results.median("stores", f"trips-{store}/{call}"))
                             for store in ("redis", "memcached"))])
    return table(["round trips", "Redis", "memcached"], rows)


def memory(results):
    rows = [[cache, *(failed_or(results, "memory", f"{entries}/{cache}",
                                number(results.median("memory", f"{entries}/{cache}/resident"))) for entries in ENTRIES),
             number(results.median("memory", f"{ENTRIES[-1]}/{cache}/requested"))] for cache in CACHES]
    first = table(["bytes an entry over key and value", *(f"{count(entries)} entries" for entries in ENTRIES),
                   f"asked of the allocator, {count(ENTRIES[-1])}"], rows)
    rows = [[f"{size:,} bytes", spread(results.values("memory", f"bound {size}/resident over max_bytes"))]
            for size in VALUES]
    return first + "\n\n" + table(["values of", "resident / `max_bytes`"], rows)


TRACES = ["Zipf 0.8", "Zipf 1.0", "Zipf 1.2", "Zipf with scans", "loop", "shifting Zipf, slowly", "shifting Zipf",
          "shifting Zipf, quickly"]
KEPT_BY = ["memory store", "LRU", "moka", "quick_cache"]


def hit_ratio(results):
    runs = [(f"{entries:,}", trace, f"hit ratio {entries}/{trace}") for entries in KEPT for trace in TRACES]
    return ratios(results, ["entries", "trace"], runs)


def public_traces(results):
    runs = []
    for trace in PUBLIC:
        for part in SHARES:
            subject = f"public trace {part:.0%}/{trace}"
            entries = results.median("memory", f"{subject}/entries") or 0
            runs.append((trace, f"{entries:,.0f}, {part:.0%}", subject))
    return ratios(results, ["trace", "entries, of its keys"], runs)


def ratios(results, head, runs):
    """Writes the hit ratios of runs: two cells and the subject of each."""
    rows = []
    for *cells, subject in runs:
        found = [results.median("memory", f"{subject}/{cache}") for cache in KEPT_BY]
        if None not in found:
            rows.append([*cells, f"{max(found) - found[0]:.3f}", *(f"{ratio:.3f}" for ratio in found)])
    return table([*head, "behind the best", *KEPT_BY], rows) if rows else ""


def scale(results):
    def get(subject, kind):
        return results.values("scale", f"{subject}/{kind}")

    rows = [[count(rate), spread(get(f"late tags {rate}", "hit ratio"), lambda ratio: f"{ratio:.3f}"),
             spread(get(f"late tags {rate}", "loads not stored"), share),
             spread(get(f"late tags {rate}", "commands a second")), spread(get(f"late tags {rate}", "records"))]
            for rate in RATES]
    late = table(["unrelated invalidations a second", "hit ratio", "loads not stored", "commands of Redis a second",
                  "records in Redis"], rows)
    rows = []
    for number_ in PROCESSES:
        loads, keys = get(f"processes {number_}", "loads"), get(f"processes {number_}", "keys")
        again = [load / max(key, 1) for load, key in zip(loads, keys)]
        rows.append([str(number_), spread(get(f"processes {number_}", "reads a second")), spread(again)])
    processes = table(["processes", "reads a second, all together", "loads / keys"], rows)
    rows = []
    for entries in CLEARED:
        timed = [(f"scan {entries}", "clear"), (f"epoch {entries}", "clear"), (f"scan {entries}", "invalidate_tag")]
        rows.append([count(entries), *(number(results.median("scale", f"{way}/{call}")) for way, call in timed)])
    cleared = table(["entries", "`clear`, walking through the keys, ms", "`clear`, with `tag_namespaces`, ms",
                     "`invalidate_tag`, ms"], rows)
    return late, processes, cleared


def cluster(results):
    rows = []
    for call, subjects in CLUSTERED.items():
        fred = f"cluster/{call}/{subjects[0]}/cluster"
        for subject in subjects:
            one, three = f"cluster/{call}/{subject}/one", f"cluster/{call}/{subject}/cluster"
            if not results.subject("scale", three):
                continue
            # Of times, so the other's comes first.
            beside = results.ratio("scale", fred, three) if "fred" in fred else []
            rows.append([
                call, subject,
                failed_or(results, "scale", three, spread(results.ratio("scale", one, three))),
                spread(beside),
                spread([1e6 / time for time in results.values("scale", three)]),
                failed_or(results, "scale", one, spread([1e6 / time for time in results.values("scale", one)])),
            ])
    head = ["calls", "of", "Cluster / one Redis", "/ fred, on the Cluster", "a second, Cluster", "a second, one Redis"]
    return table(head, rows) if rows else ""


def machine(results):
    rows = []
    for part, figures in results.results.items():
        facts = figures.get("machine", {})
        rows.append([part, figures.get("date", "?"), f"`{figures.get('commit', '?')}`",
                     str(figures.get("rounds", "–")),
                     figures.get("took", "?"), facts.get("load before", "?")])
    parts = table(["part", "date", "commit", "rounds", "took", "load of the machine before"], rows)
    newest = max(results.results.values(), key=lambda part: part.get("date", ""), default={})
    facts = [[key, value] for key, value in newest.get("machine", {}).items() if key != "load before"]
    versions = [[key, value] for key, value in newest.get("versions", {}).items()]
    return parts, table(["machine", ""], facts), table(["program", "version"], versions)
