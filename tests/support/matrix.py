"""Bakes for checks of whole projects: few, but with every pair of choices."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, cycle

from baking import BLANK, INFERENCE, PROMPTS

HOSTILE = """Ann "Bob" O'Neil \\n C:\\new {x} }} %} <a&b> # = ü 日本 🦕 [tool] $HOME `id` %s"""

# project_slug, service, resource
NAMES = (
    ("acme", "gateway", "item"),
    ("the-shop-of-the-acme", "customer-billing-api", "purchase_order_lines"),
    ("a", "b", "c"),
    ("ab", "cd", "ef"),
    ("acme", "acme", "item"),
    ("order", "order", "order"),
    ("shop-24", "api", "type"),
    ("match", "case", "match"),
    ("z9", "z-9", "z_9"),
    ("redis", "users", "user"),
)

Cell = tuple[str, str]


def pairwise(options: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return few rows, in which every pair of values of two options occurs."""
    cells = {key: [(key, value) for value in values] for key, values in options.items()}
    apart = {
        frozenset({one, other})
        for first, second in combinations(cells.values(), 2)
        for one in first
        for other in second
    }
    rows = []
    while apart:
        row: list[Cell] = sorted(min(apart, key=sorted))
        for key in [key for key in cells if key not in dict(row)]:
            row.append(max(cells[key], key=lambda cell: len(_meetings([*row, cell]) & apart)))
        apart -= _meetings(row)
        rows.append({key: dict(row)[key] for key in options})
    return rows


def _meetings(row: Sequence[Cell]) -> set[frozenset[Cell]]:
    return {frozenset(pair) for pair in combinations(row, 2)}


def _choices() -> Iterator[dict[str, str]]:
    """Yield every pair of choices with the blank starter, and each choice with the example."""
    choices = {key: value for key, value in PROMPTS.items() if isinstance(value, list)}
    del choices["starter"]
    yield from ({**BLANK, **row} for row in pairwise(choices))
    for number in range(max(map(len, choices.values()))):
        row = {key: values[number % len(values)] for key, values in choices.items()}
        yield {**INFERENCE, **row}


def _rows() -> dict[str, dict[str, str]]:
    texts = cycle(["Acme", HOSTILE])
    rows = {}
    for row, (slug, service, resource) in zip(_choices(), cycle(NAMES), strict=False):
        names = {"project_slug": slug, "service": service, "resource": resource}
        label = " ".join([slug, service, resource, *row.values()])
        text = next(texts)
        rows[label] = {"project_name": text, "author": text, **names, **row}
    return rows


ROWS = _rows()
