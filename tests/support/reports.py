"""Made-up results of runs: summaries, and reports of load tests."""

import math
import random
from typing import Any

TIERS = (
    ("static", None, 14.2),
    ("unit", "gateway", 9.4),
    ("unit", "billing", 6.1),
    ("unit", "servicebase", 3.3),
    ("integration", "gateway", 71.8),
    ("integration", "billing", 48.9),
    ("coverage", None, 4.0),
    ("load", "gateway", 95.5),
)
HOSTILE = (
    'services/gateway/tests/unit/test_x.py::test_y[</script><script>document.title="owned"'
    "</script><img src=x onerror=\"document.title='owned'\">'\"\u202egnp.exe]"
)
"""A name that, as markup, would run scripts, load images, or reverse adjacent text."""
TRACEBACK = """\
def test_a_team_keeps_its_quota(client):
        answer = client.get("/teams/1")
>       assert answer.json()["quota"] == 100
E       AssertionError: assert 90 == 100
E        +  where 90 = <Response [200 OK]>.json()["quota"]

services/gateway/tests/unit/test_teams.py:41: AssertionError"""


def one(name: str, tier: str = "unit", service: str | None = "gateway", **more: Any) -> Any:
    """Return one test of a summary."""
    usual: dict[str, Any] = {
        "python": None,
        "status": "passed",
        "duration": 0.01,
        "error": None,
        "metrics": {},
    }
    return {"name": name, "tier": tier, "service": service, **usual, **more}


def part(name: str, service: str | None = None, **more: Any) -> Any:
    """Return one tier of a summary."""
    usual: dict[str, Any] = {
        "python": None,
        "status": "passed",
        "reason": None,
        "exit_code": 0,
        "absent": [],
    }
    return {"name": name, "service": service, "duration_seconds": 1.0, **usual, **more}


def summary(tests: list[Any], tiers: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the summary of a run of these tests."""
    of = dict.fromkeys((each["tier"], each["service"]) for each in tests)
    counts = {
        status: sum(each["status"] == status for each in tests)
        for status in ("passed", "failed", "skipped")
    }
    tiers = tiers or [part(*each) for each in of]
    seconds = sum(each["duration_seconds"] for each in tiers)
    return {
        "schema": 1,
        "exit_code": 1 if counts["failed"] else 0,
        "finished": "2026-11-28T12:00:00Z",
        "source": "0123456789ab",
        "summary": {"total": len(tests), **counts, "duration_seconds": seconds},
        "tiers": tiers,
        "tests": tests,
        "load_test": None,
        **more,
    }


def big(count: int, seed: int = 0, **more: Any) -> dict[str, Any]:
    """Return a realistic summary of a run of `count` tests, some of them failed."""
    # Seeded by the count alone: each test takes about as long in each run.
    usually = random.Random(count)  # noqa: S311 - no secret
    chance = random.Random(seed)  # noqa: S311 - no secret
    areas = ("teams", "keys", "quotas", "budgets", "routes", "pages", "migrations", "repositories")
    where = [each for each in TIERS if each[0] in {"unit", "integration"}]
    tests = []
    for number in range(count):
        name, service, _ = where[number % len(where)]
        root = "libs" if service == "servicebase" else "services"
        area = areas[number // len(where) % len(areas)]
        file = f"{root}/{service}/tests/{name}/test_{area}.py"
        usual = 0.008 if name == "unit" else 0.09
        tests.append(
            one(
                f"{file}::test_each_of_the_{area}_is_found_again[{number}]",
                name,
                service,
                duration=round(
                    usually.lognormvariate(math.log(usual), 0.9) * chance.uniform(0.9, 1.2), 6
                ),
            )
        )
    smoke = "services/gateway/tests/integration/test_smoke.py::test_it_answers_in_time"
    latencies = {"p50_latency_ms": 3.1, "p95_latency_ms": 6.4, "p99_latency_ms": 9.8}
    tests.append(one(smoke, "integration", duration=2.4, metrics=latencies))
    for at in (11, 400, 1711):
        failed = tests[at % count]
        failed |= {"status": "failed", "error": TRACEBACK, "duration": 0.31}
    for at in (30, 31):
        tests[at % count] |= {"status": "skipped", "error": "Skipped: not on this machine"}
    for check in ("lint", "types", "lock", "secrets", "hadolint", "engine"):
        tests.append(one(check, "static", None, duration=round(usually.uniform(0.2, 6), 3)))
    gates = (
        ("overall", 91.4, 80),
        ("critical: services/*/src/*/domain.py", 98.2, 95),
        ("critical: libs/servicebase/src/servicebase/repository.py", 93.9, 95),
        ("error paths", 77.5, 70),
    )
    for gate, percent, wanted in gates:
        short = percent < wanted
        tests.append(
            one(
                gate,
                "coverage",
                None,
                status="failed" if short else "passed",
                duration=0.0,
                error=f"{gate}: {percent} % of 812 lines, {wanted} % wanted" if short else None,
                metrics={"percent": percent, "wanted": float(wanted), "lines": 812.0},
            )
        )
    for bound, value in (("p95_latency_ms", 38.1), ("error_rate", 0.002)):
        tests.append(one(bound, "load", duration=0.0, metrics={"value": value}))
    failing = {(each["tier"], each["service"]) for each in tests if each["status"] == "failed"}
    tiers = [
        part(
            name,
            service,
            duration_seconds=round(seconds * chance.uniform(0.9, 1.2), 3),
            **(
                {"status": "failed", "exit_code": 1, "reason": "tests failed"}
                if (name, service) in failing
                else {}
            ),
        )
        for name, service, seconds in TIERS
    ]
    tiers[0]["absent"] = [
        {"name": "terraform", "reason": "Terraform is not on PATH, and no wheel has it here"},
        {"name": "hadolint", "reason": "there is no wheel of it for this machine"},
    ]
    return summary(tests, tiers, **more)


def load(seed: int = 0) -> dict[str, Any]:
    """Return the report of a load test with every kind of phase."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    closed = _phase("closed", chance, users=10, rate=None, slow=1.0)
    opened = _phase("open", chance, users=10, rate=270.0, slow=1.4)
    users = (1, 2, 5, 10, 20, 50)
    soak = {
        f"{process}: {what}": [
            [second, round(base * (1 + 0.02 * chance.random() + grows * second), 2)]
            for second in range(0, 600, 5)
        ]
        for process, what, base, grows in (
            ("gateway", "memory_mb", 92, 0.0),
            ("gateway", "descriptors", 31, 0.0),
            ("gateway", "connections", 10, 0.0),
            ("postgres", "memory_mb", 240, 0.0004),
        )
    }
    return {
        "service": "gateway",
        "target": "http://127.0.0.1:43121",
        "own_stack": True,
        "phases": [closed, opened],
        "thresholds": [
            _threshold("p95_latency_ms", "<50", 38.1),
            _threshold("error_rate", "<0.01", 0.002),
            _threshold("requests_per_second", ">20", 268.9),
            {**_threshold("ttft_p95_ms", "<8", 9.7), "passed": False},
        ],
        "sweep": {
            "points": [
                [n, round(405 * n / (n + 4.5), 1), round(9 + 0.02 * n**2, 1)] for n in users
            ],
            "knee": 10,
        },
        "soak": {
            "seconds": 600,
            "series": soak,
            "slopes": [
                _slope("gateway", "memory_mb", 0.4, 8.0),
                _slope("gateway", "descriptors", 0.0, 5.0),
                _slope("postgres", "memory_mb", 345.0, 8.0),
            ],
        },
        "baseline": {
            "name": "main",
            "changes": [
                {"what": "open p95_latency_ms", "before": 36.9, "now": 38.1, "beyond_noise": False},
                {
                    "what": "requests_per_second",
                    "before": 402.0,
                    "now": 381.0,
                    "beyond_noise": True,
                },
            ],
        },
        "ceiling": {"requests_per_second": 3900.0},
    }


def _threshold(name: str, bound: str, value: float) -> dict[str, Any]:
    return {"name": name, "bound": bound, "value": value, "passed": True, "phase": "open"}


def _slope(process: str, what: str, per_hour: float, limit: float) -> dict[str, Any]:
    return {
        "process": process,
        "what": what,
        "per_hour": per_hour,
        "limit": limit,
        "passed": per_hour < limit,
    }


def _phase(
    name: str, chance: random.Random, *, users: int, rate: float | None, slow: float
) -> dict[str, Any]:
    """Return one phase, with the figures of random samples."""
    length = 60
    samples = sorted(chance.lognormvariate(math.log(12 * slow), 0.55) for _ in range(16000))

    def at(percentile: float) -> float:
        return round(samples[min(len(samples) - 1, int(len(samples) * percentile / 100))], 2)

    def interval(percentile: float, scale: float = 1) -> dict[str, float]:
        value = at(percentile) * scale
        width = 0.01 + 0.004 / (1.01 - percentile / 100)
        return {
            "value": round(value, 2),
            "low": round(value * (1 - width), 2),
            "high": round(value * (1 + width), 2),
        }

    curve = []
    for step in range(40):
        percentile = 100 * (1 - 10 ** (-step / 10))
        found = interval(percentile)
        curve.append([round(percentile, 4), *(found[key] for key in ("value", "low", "high"))])
    edges = [round(2 * 1.22**step, 1) for step in range(24)]
    bins = [[edge, 0] for edge in edges]
    for sample in samples:
        bins[next((i for i, edge in enumerate(edges) if sample <= edge), -1)][1] += 1
    second = len(samples) / length
    return {
        "name": name,
        "kind": name,
        "users": users,
        "rate": rate,
        "seconds": float(length),
        "requests": len(samples),
        "errors": 32,
        "error_rate": 0.002,
        "requests_per_second": round(second, 1),
        "latency_ms": {f"p{each}": interval(each) for each in (50, 95, 99)},
        "ttft_ms": {f"p{each}": interval(each, 0.3) for each in (50, 95, 99)},
        "itl_ms": {"p50": interval(50, 0.05), "p95": interval(95, 0.05), "p99": None},
        "tokens_per_second": 5120.0,
        "curve": curve,
        "histogram": bins,
        "series": [
            [
                each,
                round(second * chance.uniform(0.93, 1.05)),
                3 if each in range(31, 41) else 0,
                round(at(95) * chance.uniform(0.9, 1.15), 1),
            ]
            for each in range(length)
        ],
        "by_name": [
            {
                "name": f"POST /v1/{path}",
                "requests": len(samples) // 2,
                "errors": errors,
                "p50_ms": at(50),
                "p95_ms": at(95),
                "p99_ms": at(99),
                "messages": {"503 Service Unavailable": errors} if errors else {},
            }
            for path, errors in (("chat/completions", 32), ("completions", 0))
        ],
        "generator": {"late_p99_ms": 1.2, "cpu": 0.4, "limited": False},
    }
