"""Figures as text."""

import statistics

NAMES = {
    "bare": "axum route, no cache",
    "floor": "axum route with a hit's header fields",
    "floor-redis": "axum route that reads Redis by fred, with a hit's fields",
    "larder": "Larder, memory",
    "larder-redis": "Larder, Redis",
    "larder-redis-near": "Larder, Redis and near tier",
    "nginx": "nginx proxy_cache",
    "varnish": "Varnish",
}
SIZES = {"1k": "1 KiB", "4k": "4 KiB JSON", "64k": "64 KiB"}


def name(subject):
    return NAMES.get(subject, subject)


def number(figure):
    """Writes three digits that count, and more only if the figure is whole."""
    if figure is None:
        return "–"
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    if abs(figure) >= 10:
        return f"{figure:.1f}"
    if abs(figure) >= 0.1 or figure == 0:
        return f"{figure:.2f}"
    return f"{figure:.3g}"


def share(figure):
    return "–" if figure is None else f"{figure:.0%}"


def count(figure):
    """Writes a number of things."""
    for size, letter in [(1_000_000, " M"), (1_000, " k")]:
        if figure >= size:
            return f"{figure / size:g}{letter}"
    return f"{figure:g}"


def spread(values, write=number):
    """Writes the median, and the least and greatest figure of the rounds."""
    if not values:
        return "–"
    median = write(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({write(min(values))} to {write(max(values))})"


def table(head, rows):
    def line(cells):
        return "| " + " | ".join(cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *(line(row) for row in rows)])
