"""Order and selection of tests: one seed orders each module, another chooses a sample.

A sample has few tests of each proof. The same seed gives the same order and the same tests again.
"""

import hashlib
import random
import secrets
from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import Any

import pytest

LONGEST = "tests/project/test_tiers.py"
"""Module to start first: started last, it would keep one worker busy after the others are done."""
SHARE = 10
"""Inverse fraction of a proof's tests in a sample, which has at least one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the order and of the sample."""
    parser.addoption("--seed", help="run the tests of each module in this order (random)")
    add_sample(parser)


def add_sample(parser: pytest.Parser) -> None:
    """Add the option for a sample."""
    parser.addoption("--sample", metavar="SEED", help="run some tests of each proof, by this seed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose a seed once: workers get their controller's."""
    given = getattr(config, "workerinput", {}).get("seed") or config.option.seed
    config.option.seed = given or secrets.token_hex(3)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the seed to a worker."""
    node.workerinput["seed"] = node.config.option.seed


def pytest_report_header(config: pytest.Config) -> str:
    """Return the option that repeats this order."""
    return f"order: --seed {config.option.seed}"


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Shuffle each module, and keep a sample of the tests that `-m` and `-k` select, if requested."""
    order = shuffle(config.option.seed, [item.nodeid for item in items])
    items.sort(key=lambda item: order.index(item.nodeid))
    # In between, pytest groups tests that share a parameter of a fixture.
    yield
    keep_sample(config, items)


def shuffle(seed: str, ids: Sequence[str]) -> list[str]:
    """Return the ids of tests with each module shuffled, the longest module first.

    The order of two tests of a module does not depend on the other tests.
    """
    modules = [*dict.fromkeys(each.partition("::")[0] for each in ids)]

    def rank(test: str) -> tuple[bool, int, bytes]:
        drawn = hashlib.sha256(f"{seed} {test}".encode()).digest()
        module = test.partition("::")[0]
        return module != LONGEST, modules.index(module), drawn

    return sorted(ids, key=rank)


def keep_sample(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a sample of the tests, if requested."""
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
    """Return the name of the proof that a test belongs to; None for tests that always run."""
    marker = item.get_closest_marker("proof")
    return marker and str(marker.kwargs["of"])


def choose(seed: str, ids: list[str]) -> list[str]:
    """Return the ids of a sample."""
    return random.Random(seed).sample(sorted(ids), -(-len(ids) // SHARE))  # noqa: S311 - no secret
