"""Saved runs: changes beyond the noise, and changes that are only noise."""

import random
from pathlib import Path
from typing import Any

import pytest

from stratakit.errors import ConfigurationError
from stratakit.load import baseline, stats
from stratakit.load.samples import Generator, PhaseRun, Row, Samples

REPEATS = 100


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(baseline, "FOLDER", tmp_path)
    return tmp_path


def phases(
    chance: random.Random, mean: float = 20, *, count: int = 2_000, errors: float = 0.01
) -> list[dict[str, Any]]:
    """Make a run whose latencies are exponential, with this mean in ms."""
    rows: list[Row] = [
        (
            *(20 * index / count, chance.expovariate(1 / mean), "GET /", "request"),
            "503" if chance.random() < errors else None,
        )
        for index in range(count)
    ]
    run = PhaseRun(Samples(rows), 0.0, seconds=20.0, generator=Generator(1.0, 0.1), tasks=count)
    closed = stats.summarise("closed", "closed", run, users=10)
    return [closed, {**closed, "name": "open", "kind": "open", "rate": 70.0}]


def changed(found: dict[str, Any]) -> set[str]:
    return {each["what"].rpartition(": ")[2] for each in found["changes"] if each["beyond_noise"]}


def test_runs_of_equal_speed_rarely_differ_beyond_the_noise() -> None:
    chance = random.Random(1)  # noqa: S311 - the same each time
    baseline.save("shop", "main", phases(chance))
    accused = [changed(baseline.compare("shop", "main", phases(chance))) for _ in range(REPEATS)]
    # Each run has 18 figures, and one in 200 is that far off by chance.
    assert sum(map(bool, accused)) <= REPEATS * 0.15


@pytest.mark.parametrize(
    ("slower", "found"),
    [
        ({"mean": 26}, {"p50 latency_ms", "p95 latency_ms"}),
        ({"errors": 0.05}, {"error_rate"}),
        ({"count": 1_500}, {"requests_per_second"}),
    ],
)
def test_a_regression_is_found_in_the_figures_that_it_affects(
    slower: dict[str, Any], found: set[str]
) -> None:
    chance = random.Random(2)  # noqa: S311 - the same each time
    baseline.save("shop", "main", phases(chance))
    for _ in range(REPEATS // 10):
        assert found <= changed(baseline.compare("shop", "main", phases(chance, **slower)))


def test_a_change_holds_the_value_before_and_the_value_now() -> None:
    chance = random.Random(3)  # noqa: S311 - the same each time
    before, now = phases(chance), phases(chance, 60)
    baseline.save("shop", "main", before)
    found = baseline.compare("shop", "main", now)
    assert found["name"] == "main"
    (change,) = [
        each for each in found["changes"] if each["what"] == "open, 10 users: p95 latency_ms"
    ]
    assert change["before"] == before[1]["latency_ms"]["p95"]["value"]
    assert change["now"] == now[1]["latency_ms"]["p95"]["value"]


def test_variation_between_saved_runs_counts_as_noise() -> None:
    chance = random.Random(4)  # noqa: S311 - the same each time
    baseline.save("shop", "main", phases(chance, 20))
    later = phases(chance, 26)
    assert changed(baseline.compare("shop", "main", later))
    baseline.save("shop", "main", phases(chance, 30))
    assert not changed(baseline.compare("shop", "main", later))


def test_the_newest_runs_are_kept_and_the_last_of_them_sets_the_rate() -> None:
    made = phases(random.Random(5))  # noqa: S311 - the same each time
    for number in range(baseline.RUNS + 3):
        made[1]["rate"] = float(number)
        baseline.save("shop", "main", made)
    kept = [run["rate"] for run in baseline.saved("shop", "main")]
    assert kept == [float(number) for number in range(3, baseline.RUNS + 3)]
    assert baseline.rate("shop", "main") == baseline.RUNS + 2


def test_phases_with_different_user_counts_are_not_compared() -> None:
    made = phases(random.Random(6))  # noqa: S311 - the same each time
    baseline.save("shop", "main", made)
    others = [{**each, "users": 50} for each in made]
    with pytest.raises(ConfigurationError, match="no figure in common") as refused:
        baseline.compare("shop", "main", others)
    assert "the same -u" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("mian", "no run of shop is saved as mian; saved are: main", "did you mean main?"),
        ("x", "saved are: main", "--save x"),
        ("../main", "no run can be saved as", "--save main"),
        ("", "no run can be saved as", "--save main"),
    ],
)
def test_an_unknown_or_invalid_name_of_saved_runs_is_refused(
    name: str, said: str, hint: str
) -> None:
    baseline.save("shop", "main", phases(random.Random(7)))  # noqa: S311 - the same each time
    with pytest.raises(ConfigurationError) as refused:
        baseline.compare("shop", name, [])
    assert said in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
def test_a_corrupt_baseline_file_is_named(text: str, folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "main.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"main\.json cannot be read"):
        baseline.rate("shop", "main")
