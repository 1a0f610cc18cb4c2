"""Load tests of projects: their measurements, files, error messages, and shutdown."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import psutil
import pytest
from baking import INFERENCE, Bakery
from project import NOX, PATIENCE, Change, Changes, Project, free_port, replace, until, write

pytestmark = [pytest.mark.proof(of="load"), pytest.mark.timeout(600)]

EMBEDDED = {"STRATA_SERVERS": "embedded"}
PYPROJECT = "services/gateway/pyproject.toml"
SCENARIO = "services/gateway/tests/load/locustfile.py"
REPORT = "reports/load/gateway/load.json"
SHORT = ("-u", "5", "-r", "5", "-t", "3s")
# The speed of this busy machine is not under test.
PATIENT = replace(PYPROJECT, 'p95_latency_ms = "<500"', 'p95_latency_ms = "<20000"')


def project_of(bake: Bakery, folder: Path, starter: dict[str, str]) -> Project:
    """Return a locked project."""
    baked = bake.into(folder, starter, project_name="Acme Load")
    baked.run("uv", "lock", "--quiet")
    return Project(baked.path, baked.answers, baked.environment)


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project that all tests of its service share."""
    return project_of(bake, tmp_path_factory.mktemp("load with ä space"), {})


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes of a test, in addition to relaxed time limits."""
    with Changes(project) as changes:
        PATIENT(changes)
        yield changes


@pytest.mark.usefixtures("changes")
def test_a_fresh_service_passes_its_load_test_and_writes_figures(project: Project) -> None:
    outcome = project.nox("-s", "load", "--", *SHORT, "--save", "main", env=EMBEDDED)
    assert outcome.code == 0, outcome.output
    schema = project.path / "vendor/stratakit/src/stratakit/summary.schema.json"
    jsonschema.validate(outcome.summary, json.loads(schema.read_text(encoding="utf-8")))
    figures = outcome.summary["load_test"]
    assert figures["requests_per_second"] > 20
    assert figures["error_rate"] == 0
    rows = {test["name"]: test["metrics"] for test in outcome.summary["tests"]}
    assert rows["requests_per_second >20"] == {
        "requests_per_second": figures["requests_per_second"]
    }
    report = json.loads((project.path / REPORT).read_text(encoding="utf-8"))
    assert [phase["kind"] for phase in report["phases"]] == ["closed", "open"]
    names = {each["name"] for each in report["phases"][1]["by_name"]}
    assert names == {
        *("POST /v1/items", "GET /v1/items", "GET /v1/items/[id]"),
        *("PATCH /v1/items/[id]", "DELETE /v1/items/[id]"),
    }
    assert report["ceiling"]["requests_per_second"] > figures["requests_per_second"]
    # Only what a run of the tier leaves; the saved baseline is elsewhere.
    assert sorted(each.name for each in (project.path / "reports/load/gateway").iterdir()) == [
        "load.json",
        "uv.log",
    ]
    assert (project.path / "reports/baselines/gateway/main.json").exists()
    # Locust is only in this tier's environment.
    assert [*project.path.glob(".nox/service-gateway@load/lib/*/site-packages/locust")]


@dataclass(frozen=True)
class Wrong:
    """A mistake in a load test, and its message."""

    name: str
    code: int
    says: str
    words: tuple[str, ...] = SHORT
    change: Change | None = None
    measured: tuple[str, ...] = ()
    """Phases that are reported nevertheless."""


OTHERS = json.dumps({"runs": [{"rate": 5.0, "figures": {}}]})
WRONG = [
    Wrong(
        name="a threshold is missed",
        code=1,
        says="1 missed: requests_per_second is",
        change=replace(PYPROJECT, '">20"', '">1000000"'),
    ),
    Wrong(
        name="the generator is late",
        code=2,
        says="generator-limited: the load generator could not keep up (open: late by",
        change=replace(PYPROJECT, '"<20000"', '"<0.001"'),
    ),
    Wrong(
        name="a threshold has no comparison",
        code=3,
        says="p95_latency_ms = '500' in [tool.stratakit.service.load]",
        change=replace(PYPROJECT, '"<20000"', '"500"'),
    ),
    Wrong(
        name="there is a bug in the scenario",
        code=1,
        says="there is a bug in the scenario services/gateway/tests/load/locustfile.py:",
        change=replace(SCENARIO, "created.json()['id']", "created.json()['name of it']"),
    ),
    Wrong(
        name="the scenario makes no request",
        code=2,
        says="no request was made in 3 s by the scenario",
        change=replace(
            SCENARIO, "        created = self", "        return\n        created = self"
        ),
    ),
    Wrong(
        name="every request fails",
        code=1,
        says="error_rate is 1, <0.01 wanted",
        change=replace(SCENARIO, 'json={"name": uuid4().hex}', "json={}"),
    ),
    Wrong(
        name="the service does not start",
        code=2,
        says="gateway does not start:",
        change=replace(
            "services/gateway/src/gateway/app.py", "def create_app(", "def no_create_app("
        ),
    ),
    Wrong(
        name="the service does not shut down cleanly",
        code=1,
        says="gateway did not shut down cleanly:",
        change=replace(
            "services/gateway/src/gateway/__main__.py",
            "    serve(",
            "    __import__('atexit').register(__import__('os')._exit, 7)\n    serve(",
        ),
        measured=("closed", "open"),
    ),
    Wrong(
        name="the baseline has no figure in common",
        code=3,
        says="the runs that are saved as others have no figure in common with this one",
        words=(*SHORT, "--baseline", "others"),
        change=write("reports/baselines/gateway/others.json", OTHERS),
        measured=("closed", "open"),
    ),
    Wrong(
        name="the host is dead",
        code=2,
        says="does not answer: ",
        words=("--host", f"http://127.0.0.1:{free_port()}"),
    ),
    Wrong(
        name="the host is not on the list",
        code=3,
        says='if it may be: hosts = ["staging.example.org"] in [tool.stratakit.load]',
        words=("--host", "https://staging.example.org"),
    ),
    Wrong(
        name="an option of Locust's is misspelt",
        code=3,
        says="Locust refuses its options: unrecognized arguments: --proceses",
        words=(*SHORT, "--proceses", "2"),
    ),
    Wrong(
        name="a time option is invalid",
        code=3,
        says="soon is not a time",
        words=("-t", "soon"),
    ),
    Wrong(
        name="the baseline does not exist",
        code=3,
        says="no run of gateway is saved as nothing",
        words=("--baseline", "nothing"),
    ),
    Wrong(
        name="the dependency group is missing",
        code=3,
        says="dependency group `load`",
        change=replace(PYPROJECT, 'load = ["locust>=2.47,<3"]', ""),
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_faulty_load_test_exits_with_the_expected_code_and_message(
    project: Project, changes: Changes, wrong: Wrong
) -> None:
    if wrong.change:
        wrong.change(changes)
    outcome = project.nox("-s", "load", "--", *wrong.words, env=EMBEDDED)
    assert outcome.code == wrong.code, outcome.output
    assert wrong.says in outcome.output
    if wrong.measured:
        report = json.loads((project.path / REPORT).read_text(encoding="utf-8"))
        assert tuple(each["name"] for each in report["phases"]) == wrong.measured
        assert "p95" in outcome.output
    assert "Traceback" not in outcome.output.partition("gateway does not start:")[0]


def runs(process: psutil.Process, module: str) -> bool:
    """Return whether a process runs a module."""
    with suppress(psutil.NoSuchProcess):
        return module in process.cmdline()
    return False


@pytest.mark.usefixtures("changes")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_load_test_leaves_no_process_and_no_scratch_folder(
    project: Project, how: signal.Signals
) -> None:
    env = {**project.environment, **EMBEDDED}
    with subprocess.Popen(
        [*NOX, "-s", "load", "--", "-t", "300s"],
        cwd=project.path,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        started: list[psutil.Process] = []

        def is_under_load() -> bool:
            started[:] = psutil.Process(running.pid).children(recursive=True)
            return any(runs(each, "stratakit.load.generator") for each in started)

        until(is_under_load)
        # The parent of the service and Locust, which waits for them; nox ends with it.
        (load,) = (each for each in started if runs(each, "stratakit.load"))
        scratch = Path(load.cmdline()[load.cmdline().index("--scratch") + 1])
        assert scratch.exists()
        load.send_signal(how)
        running.wait(PATIENCE)
    psutil.wait_procs(started, PATIENCE)
    assert not [each for each in started if each.is_running()]
    assert not scratch.exists()
    assert project.summary()["exit_code"] in (1, 130)


def test_the_gateway_passes_a_load_test_with_streams(
    bake: Bakery, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gateway = project_of(bake, tmp_path_factory.mktemp("gateway"), INFERENCE)
    with Changes(gateway) as changes:
        PATIENT(changes)
        changes.replace(PYPROJECT, 'ttft_p95_ms = "<200"', 'ttft_p95_ms = "<20000"')
        outcome = gateway.nox("-s", "load", "--", *SHORT, "--processes", "2", env=EMBEDDED)
    assert outcome.code == 0, outcome.output
    names = [test["name"] for test in outcome.summary["tests"]]
    assert "ttft_p95_ms <20000" in names
    report = json.loads((gateway.path / "reports/load/gateway/load.json").read_text("utf-8"))
    for phase in report["phases"]:
        assert phase["errors"] == 0
        assert phase["tokens_per_second"] > phase["requests_per_second"]
        assert phase["ttft_ms"]["p50"]["value"] < phase["latency_ms"]["p99"]["value"]
