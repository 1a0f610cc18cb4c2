"""A sample of the proofs: few tests of each, chosen by a seed, which chooses the same ones again."""

import random
from collections import defaultdict

import pytest

SHARE = 8
"""One of so many tests of a proof is in a sample, and at least one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that asks for a sample."""
    parser.addoption("--sample", metavar="SEED", help="run some tests of each proof, by this seed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a sample of what `-m` and `-k` have left, if one is asked for."""
    seed = config.getoption("--sample")
    if seed is None:
        return
    proofs = defaultdict(list)
    for item in items:
        proofs[proof(item)].append(item.nodeid)
    kept = {each for name, ids in proofs.items() for each in choose(f"{seed} {name}", ids)}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
    items[:] = [item for item in items if item.nodeid in kept]


def proof(item: pytest.Item) -> str | None:
    """Return the name of the proof that a test belongs to; None if it is run each time."""
    marker = item.get_closest_marker("proof")
    return marker and str(marker.kwargs["of"])


def choose(seed: str, ids: list[str]) -> list[str]:
    """Return the ids of a sample."""
    return random.Random(seed).sample(sorted(ids), -(-len(ids) // SHARE))  # noqa: S311 - no secret
