"""Thresholds of load tests: how they are written, and each of them met and missed."""

from typing import Any

import pytest

from stratakit.errors import ConfigurationError
from stratakit.load import thresholds

PROJECT = "[tool.stratakit.load] of pyproject.toml"
SERVICE = "[tool.stratakit.service.load] of services/shop/pyproject.toml"


def parse(**table: Any) -> thresholds.Settings:
    return thresholds.parse([(PROJECT, table)])


def figures(value: float | None) -> dict[str, Any]:
    one = None if value is None else {"value": value, "low": value, "high": value}
    return dict.fromkeys(("p50", "p95", "p99"), one)


def phase(kind: str, value: float | None) -> dict[str, Any]:
    named = dict.fromkeys(("latency_ms", "ttft_ms", "itl_ms"), figures(value))
    rates = dict.fromkeys(("error_rate", "requests_per_second", "tokens_per_second"), value)
    return {"name": kind, "kind": kind, **named, **rates}


@pytest.mark.parametrize("name", thresholds.METRICS)
def test_each_metric_passes_on_the_good_side_of_its_bound_and_fails_on_the_other(name: str) -> None:
    metric = thresholds.METRICS[name]
    small = metric.most is not None
    low, limit, high = (0.01, 0.02, 0.03) if small else (10.0, 20.0, 30.0)
    side, good, bad = ("<", low, high) if metric.low_is_good else (">", high, low)
    settings = parse(**{name: f"{side}{limit}"})
    for value, passed in ((good, True), (bad, False), (limit, False)):
        phases = [phase("closed", value), phase("open", value)]
        (row,) = [each for each in thresholds.judge(settings, phases) if each["name"] == name]
        assert (row["value"], row["passed"], row["bound"]) == (value, passed, f"{side}{limit}")
        assert (thresholds.message(row) is None) is passed


@pytest.mark.parametrize(
    ("bound", "value", "passed"),
    [("<=20", 20, True), ("<20", 20, False), (" < 20.5 ", 20.4, True), ("<=20", 20.01, False)],
)
def test_only_a_bound_with_an_equals_sign_includes_the_limit(
    bound: str, value: float, passed: bool
) -> None:
    rows = thresholds.judge(parse(p95_latency_ms=bound), [phase("closed", value)])
    assert rows[-1]["passed"] is passed


def test_a_message_names_the_threshold_its_value_and_the_phase() -> None:
    row = thresholds.judge(parse(p95_latency_ms="<500"), [phase("open", 612.3456)])[-1]
    assert thresholds.message(row) == "p95_latency_ms is 612.3, <500 wanted (phase open)"


def test_an_unmeasured_percentile_is_missed_and_suggests_a_longer_run() -> None:
    row = thresholds.judge(parse(p99_latency_ms="<500"), [phase("open", None)])[-1]
    assert (row["value"], row["passed"]) == (None, False)
    assert "n/a" in (thresholds.message(row) or "")
    assert "-t 2m" in (thresholds.message(row) or "")


def test_a_threshold_that_no_phase_measures_is_missed() -> None:
    streamless = {**phase("open", 1), "ttft_ms": None}
    row = thresholds.judge(parse(ttft_p95_ms="<200"), [streamless])[-1]
    assert (row["value"], row["passed"]) == (None, False)


@pytest.mark.parametrize(
    ("name", "bound", "wanted"),
    [
        ("p95_latency_ms", "<500", "open"),
        ("ttft_p95_ms", "<500", "open"),
        ("requests_per_second", ">1", "closed"),
        ("tokens_per_second", ">1", "closed"),
        ("error_rate", "<0.5", "closed"),
    ],
)
def test_each_threshold_is_judged_by_the_open_the_closed_or_the_worst_phase(
    name: str, bound: str, wanted: str
) -> None:
    phases = [phase("closed", 0.4), phase("open", 0.1)]
    rows = thresholds.judge(parse(**{name: bound}), phases)
    assert {row["name"]: row["phase"] for row in rows}[name] == wanted


def test_errors_have_a_default_threshold_and_without_phases_nothing_is_judged() -> None:
    assert [each.name for each in parse().thresholds] == ["error_rate"]
    assert [row["passed"] for row in thresholds.judge(parse(), [phase("closed", 0.02)])] == [False]
    assert thresholds.judge(parse(), []) == []


def test_a_services_thresholds_override_those_of_the_project_key_by_key() -> None:
    settings = thresholds.parse(
        [
            (PROJECT, {"p95_latency_ms": "<500", "error_rate": "<0.1", "hosts": ["A.example"]}),
            (SERVICE, {"p95_latency_ms": "<50"}),
        ]
    )
    bounds = {each.name: each.bound for each in settings.thresholds}
    assert bounds == {"error_rate": "<0.1", "p95_latency_ms": "<50"}
    assert settings.hosts == ("a.example",)
    assert settings.late_limit_ms == 5


def test_without_a_p95_bound_the_generator_has_no_limit_of_lateness() -> None:
    assert parse().late_limit_ms == float("inf")


@pytest.mark.parametrize(
    ("table", "said", "hint"),
    [
        ({"p95_latency": "<500"}, "unknown key p95_latency", "did you mean p95_latency_ms?"),
        ({"eror_rate": "<1"}, "unknown key eror_rate", "did you mean error_rate?"),
        ({"p95_latency_ms": 500}, "500 in", 'p95_latency_ms = "<500"'),
        ({"p95_latency_ms": "500"}, "is not a bound", 'p95_latency_ms = "<500"'),
        ({"p95_latency_ms": "=<500"}, "is not a bound", 'p95_latency_ms = "<500"'),
        ({"p95_latency_ms": "<500ms"}, "is not a bound", 'p95_latency_ms = "<500"'),
        ({"p95_latency_ms": ">500"}, "less is better", 'p95_latency_ms = "<500"'),
        ({"requests_per_second": "<20"}, "more is better", 'requests_per_second = ">20"'),
        ({"error_rate": "<1.5"}, "not a share from 0 to 1", 'error_rate = "<0.015"'),
        ({"error_rate": "<5%"}, "not a share from 0 to 1", 'error_rate = "<0.05"'),
        ({"error_rate": "<nan"}, "is not a bound", 'error_rate = "<0.01"'),
        ({"hosts": "staging"}, "not a list of host names", 'hosts = ["staging.example.org"]'),
        ({"hosts": ["https://a.example"]}, "not a list of host names", "without scheme and port"),
        ({"hosts": ["a.example:8080"]}, "not a list of host names", "without scheme and port"),
    ],
)
def test_an_invalid_load_setting_is_refused_with_a_correction(
    table: dict[str, Any], said: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(**table)
    assert said in refused.value.message
    assert PROJECT in refused.value.message
    assert hint in refused.value.hint


def test_load_settings_that_are_not_a_table_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not a table"):
        thresholds.parse([(PROJECT, "<500")])
