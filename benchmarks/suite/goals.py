"""The goals, and what they were measured against before."""

import statistics

from wording import number, table


def rows(results):
    """Yields part, figure, before, goal, the figures of the rounds, a limit, and whether the limit is a most."""
    for size, title, before, goal in [("1k", "1 KiB", 0.84, 0.95), ("4k", "4 KiB JSON", 0.80, 0.95),
                                      ("64k", "64 KiB", 0.91, 0.97)]:
        values = results.ratio("http", f"larder/{size}", f"bare/{size}")
        yield "http", f"HTTP hit in memory / axum route without a cache, {title}", number(before), values, goal, False
    for size, title, before in [("1k", "1 KiB", 1.14), ("4k", "4 KiB JSON", 1.12), ("64k", "64 KiB", 1.14)]:
        values = results.ratio("http", f"larder/{size}", f"nginx/{size}")
        yield "http", f"the same / nginx `proxy_cache`, {title}", number(before), values, 1.25, False
    values = results.ratio("http", "larder/4k", "fastapi-cache/4k")
    yield "http", "the same / fastapi-cache, 4 KiB JSON", "69", values, 80, False
    pairs = zip(results.values("functions", "router/layer"), results.values("functions", "router/bare"))
    values = [layer - bare for layer, bare in pairs]
    yield "functions", "layer over the bare router, in process, ns", "1,400 to 1,500", values, 600, True
    layer, router = (results.values("functions", f"instructions/{kind}") for kind in ("layer", "router"))
    values = [first - second for first, second in zip(layer, router)]
    yield "functions", "the same, instructions", "11,460", values, 4_500, True
    for subject, title, before, goal in [
        ('#[cached], key "user:{id}"', '`#[cached]` hit, key `"user:{id}"`, ns', "404", 160),
        ("#[cached], arguments hashed", "`#[cached]` hit, arguments hashed, ns", "569", 220),
        ('get_or_load("user:42")', '`get_or_load("user:…")` hit, ns', "191", 130),
    ]:
        yield "functions", title, before, results.values("functions", f"functions/{subject}"), goal, True
    # Of times, so the peer's comes first.
    values = results.ratio("stores", "redis/fred: GET", "redis/Cache::get")
    yield "stores", "Redis, 64 tasks: `Cache::get` / fred GET", "0.75", values, 0.95, False
    values = results.ratio("stores", "redis/fred: SET PX", "redis/Cache::set")
    yield "stores", "Redis, 64 tasks: `Cache::set` / fred SET PX", "0.56", values, 0.85, False
    values = results.ratio("stores", "memcached/memcache-async: get", "memcached/Cache::get")
    yield "stores", "memcached: `Cache::get` / memcache-async get", "0.86", values, 0.95, False
    values = results.ratio("stores", "memcached/memcache-async: set and version", "memcached/Cache::set")
    yield "stores", "memcached: `Cache::set` / memcache-async set, acknowledged", "0.87", values, 0.95, False
    for way, before, goal in [("one by one", "2.15", 1.15), ("32 at once", "2.33", 1.3)]:
        values = results.ratio("stores", f"misses/get_or_load, {way}", f"misses/fred: GET and SET PX, {way}")
        title = f"Redis: a miss with lease, fence and fill / GET and SET, {way} (time)"
        yield "stores", title, before, values, goal, True
    values = results.values("memory", "1000000/memory store, with a lifetime/resident")
    title = "memory: bytes an entry over key and value (1 M entries of 100 bytes, RSS)"
    yield "memory", title, "645", values, 200, True
    worst = [max(abs(value - 1) for value in round_) for round_ in zip(
        *(results.values("memory", f"bound {size}/resident over max_bytes") for size in (100, 1_000, 20_000)))]
    yield "memory", "memory: what the process takes beside `max_bytes` (most of three sizes)", "–", worst, 0.1, True
    values = results.ratio("http", "larder-redis/4k", "bare/4k")
    yield "http", "layer over Redis, 4 KiB / axum route without a cache", "0.38", values, 0.5, False
    values = results.ratio("http", "larder-redis-near/4k", "bare/4k")
    yield "http", "the same with near tier", "0.80", values, 0.93, False
    for title, before, prefixes in [
        ("hit ratio behind the best of four, worst trace", "0.032", ("hit ratio 1000/", "hit ratio 10000/")),
        ("the same, public traces", "–", "public trace "),
    ]:
        runs = [subject.removesuffix("/memory store") for subject in results.part("memory").get("subjects", {})
                if subject.startswith(prefixes) and subject.endswith("/memory store")]
        behind = []
        for run in runs:
            ratios = [results.median("memory", f"{run}/{cache}") or 0
                      for cache in ("memory store", "LRU", "moka", "quick_cache")]
            behind.append(max(ratios) - ratios[0])
        yield "memory", title, before, [max(behind)] if behind else [], 0.005, True


def goals(results):
    lines, met = [], 0
    for part, title, before, values, goal, at_most in rows(results):
        now = statistics.median(values) if values else None
        if now is None:
            verdict = "not measured"
        elif now <= goal if at_most else now >= goal:
            verdict, met = "yes", met + 1
        else:
            verdict = "no"
        sign = "≤" if at_most else "≥"
        wide = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
        lines.append([title, f"`{part}`", before, f"{sign} {goal:,}", f"**{number(now)}**{wide}", verdict])
    return table(["figure", "`scripts/bench`", "2026-11-26", "goal", "now", "met"], lines), met, len(lines)
