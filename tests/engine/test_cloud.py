"""The five steps on this computer, and the return of the machine after any failure."""

import fcntl
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from .hetzner_account import new_lease

from stratakit import programs
from stratakit.cloud import steps
from stratakit.cloud.local import Local
from stratakit.cloud.machine import LOCK, NOTE
from stratakit.cloud.options import Options
from stratakit.cloud.providers import NotYetError
from stratakit.cloud.steps import SignalledError, Signals
from stratakit.errors import InfrastructureError
from stratakit.servers.waiting import until

from .renting import MOMENTS, RUN, Project, renting

STEPS = ["credentials", "launch", "health", "request", "termination"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with renting(tmp_path_factory.mktemp("cloud")) as project:
        yield project


@pytest.fixture
def project(shared: Project) -> Iterator[Project]:
    with shared.cleared():
        yield shared


def test_all_five_steps_pass_and_no_machine_is_left(project: Project) -> None:
    done = project.run()
    assert done.code == 0, done.said
    assert project.rows == dict.fromkeys(STEPS, "passed")
    # The report's page shows this file.
    machine = json.loads(project.results.with_name("cloud.json").read_text())
    assert (machine["cloud"], machine["instance"], machine["usd"]) == ("local", "process", 0)
    assert machine["left"] == "given back"
    project.expect_nothing_left()


def test_a_service_that_does_not_start_is_reported_with_its_error(project: Project) -> None:
    done = project.run(STRATA_SERVERS="url")
    assert done.code == 3, done.said
    assert "STRATA_SERVERS=url, but TEST_DATABASE_URL is not set" in done.err
    assert project.rows | {"health": "failed", "request": "skipped"} == project.rows
    assert project.rows["termination"] == "passed"
    project.expect_nothing_left()


def test_a_service_that_crashes_at_its_start_is_reported_with_its_last_lines(
    project: Project,
) -> None:
    file = project.root / "services/gateway/src/gateway/__main__.py"
    before = file.read_text()
    file.write_text("print('loading the prices')\nraise SystemExit('there are no prices')\n")
    try:
        done = project.run()
    finally:
        file.write_text(before)
    assert done.code == 2, done.said
    # The output of the machine is printed, and the error quotes it.
    for text in (done.out, done.err):
        assert "loading the prices\n" in text
        assert "there are no prices\n" in text
    project.expect_nothing_left()


def test_a_failed_launch_leaves_no_machine(project: Project) -> None:
    # The folder of the lease exists, but no process can be started in it.
    broken = "import os; os.environ['PATH'] = ''; import sys; sys.executable = '/nonexistent'\n"
    done = project.run(code=broken + RUN)
    assert done.code == 2, done.said
    assert "no process can be started for gateway" in done.said
    assert project.rows == {
        "credentials": "passed",
        "launch": "failed",
        "health": "skipped",
        "request": "skipped",
        "termination": "passed",
    }
    project.expect_nothing_left()


def test_the_machine_of_a_service_that_never_gets_healthy_is_given_back(project: Project) -> None:
    # The lease expires before the service can become healthy.
    done = project.run("--ttl", "1s")
    assert done.code == 1, done.said
    assert project.rows | {"health": "failed", "request": "skipped"} == project.rows
    assert project.rows["termination"] == "passed"
    project.expect_nothing_left()


def test_a_wrong_response_to_the_smoke_request_fails_the_run(project: Project) -> None:
    project.smoke(status=418)
    done = project.run()
    assert done.code == 1, done.said
    assert "AssertionError" in done.err
    assert "smoke.py:5" in done.err
    assert project.rows == {**dict.fromkeys(STEPS, "passed"), "request": "failed"}
    project.expect_nothing_left()


def test_a_kept_machine_is_listed_and_given_back_by_cloud_down(project: Project) -> None:
    done = project.run("--skip-teardown")
    assert done.code == 0, done.said
    [lease] = [each.name for each in project.leases.iterdir()]
    assert f"uv run invoke cloud.down --lease {lease}" in done.out
    assert project.rows["termination"] == "skipped"
    listed = project.green("cloud.list").out
    assert lease in listed
    assert "running" in listed
    assert "kept" in listed
    assert "no machine was left" in project.green("cloud.reap").out
    assert project.green("cloud.logs", "--lease", lease).out
    # The "machine" is this computer, and its shell exits at once.
    project.green("cloud.ssh", SHELL="/bin/true")
    assert f"given back: {lease}" in project.green("cloud.down").out
    project.expect_nothing_left()


def test_a_kept_machine_ends_itself_when_its_time_to_live_is_over(project: Project) -> None:
    done = project.run("--skip-teardown", "--ttl", "20s")
    assert done.code == 0, done.said

    def ended() -> None:
        assert project.machines() == []

    until(ended, 60)
    assert "its time is over" in project.green("cloud.reap").out
    project.expect_nothing_left()


def test_the_first_signal_interrupts_a_step_and_the_second_only_prints_to_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    signals = Signals()
    with signals.handled():
        with pytest.raises(SignalledError), signals.interrupting():
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert signals.seen == ["SIGINT", "SIGTERM"]
    assert "the machine is being given back: wait for it" in capsys.readouterr().err


def test_a_local_process_that_neither_responds_nor_ends_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    lease, local = new_lease(provider="local"), Local("local", stop=0.1)
    url = f"http://127.0.0.1:{programs.free_port()}"
    with (
        (lease.folder / LOCK).open("w") as lock,
        subprocess.Popen(("sleep", "600"), start_new_session=True) as process,
    ):
        # The lock stays held after the process that is noted as its holder has ended.
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = {"pid": process.pid, "url": url, "settings": {}}
        (lease.folder / NOTE).write_text(json.dumps(note))
        with pytest.raises(NotYetError):
            local.answering(lease)
        with pytest.raises(InfrastructureError, match=f"process of the lease {lease.id} does not"):
            local.terminate(lease.id)
    with pytest.raises(NotYetError):
        steps._elsewhere(Options(host=url))


def test_two_concurrent_runs_pass_and_leave_no_machine(project: Project) -> None:
    running = [
        project.start(RUN, str(project.root.parent / f"results{number}.json")) for number in (1, 2)
    ]
    for each in running:
        done = each.wait()
        assert done.code == 0, done.said
    project.expect_nothing_left()


def test_a_run_gives_back_the_machine_of_a_killed_run(project: Project) -> None:
    launched = str(project.moments() * 2 // 3)
    killed = project.run(code=MOMENTS, AT=launched, SIGNAL=str(int(signal.SIGKILL)))
    assert killed.code == -signal.SIGKILL
    assert project.machines()
    done = project.run()
    assert done.code == 0, done.said
    assert "its run is dead" in done.out
    project.expect_nothing_left()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--cloud", "lokal"), 3, "did you mean local?"),
        (("--profile", "staging"), 3, "there is no table [tool.stratakit.cloud.staging]"),
        (("--ttl", "soon"), 3, "'soon' is not a time to live"),
        (("--max-usd", "much"), 3, "much is not an amount of US dollars"),
        (("--service", "billing"), 3, "there is no service 'billing'"),
        (
            ("--service", "gateway", "--instance", "r7a.large"),
            3,
            "the cloud `local` is this computer",
        ),
        (("--what",), 3, "unrecognized arguments: --what"),
    ],
)
def test_an_invalid_option_is_refused_with_a_hint_before_a_machine_is_launched(
    project: Project, words: tuple[str, ...], code: int, says: str
) -> None:
    done = project.run(*words)
    assert done.code == code, done.said
    assert says in done.err
    assert "hint:" in done.err
    project.expect_none_launched(done)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no services/gateway/tests/smoke.py"),
        ("import nowhere", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("smoke = 1", "services/gateway/tests/smoke.py has no function smoke"),
    ],
)
def test_a_missing_or_invalid_smoke_request_is_refused_before_a_machine_is_launched(
    project: Project, text: str | None, says: str
) -> None:
    file = project.root / "services/gateway/tests/smoke.py"
    file.unlink()
    if text is not None:
        file.write_text(text)
    done = project.run()
    assert done.code == 3, done.said
    assert says in done.err
    assert "hint: write `def smoke(url, settings)` in it" in done.err
    project.expect_none_launched(done)


def test_a_smoke_request_may_be_a_coroutine(project: Project) -> None:
    file = project.root / "services/gateway/tests/smoke.py"
    file.write_text("async def smoke(url, settings):\n    assert False, 'it was awaited'\n")
    done = project.run()
    assert done.code == 1, done.said
    assert "it was awaited" in done.err


def test_an_ambiguous_service_or_one_without_a_smoke_request_is_refused(
    project: Project,
) -> None:
    other = project.root / "services" / "other" / "pyproject.toml"
    other.parent.mkdir()
    service = 'package = "other"\nneeds = []\nmetadata = "other:metadata"\n'
    text = f'[project]\nname = "other"\n[tool.stratakit.service]\n{service}'
    try:
        other.write_text(text)
        without = project.run("--service", "other")
        other.write_text(f'{text}smoke = "smoke.py"\n')
        several = project.run()
    finally:
        shutil.rmtree(other.parent)
    assert (without.code, several.code) == (3, 3)
    assert "other has no smoke request" in without.err
    assert "several services have a smoke request: gateway, other" in several.err


@pytest.mark.parametrize(
    ("table", "words", "says"),
    [
        ("ttl = 15", (), "ttl = 15 in [tool.stratakit.cloud] of pyproject.toml is not valid"),
        ("max_usd = true", (), "max_usd = True in"),
        ("instanse = 'x'", (), "did you mean instance?"),
        ("instance = 'x'", (), "the cloud `local` is this computer, and has no x"),
        ("cloud = 'aws'\ninstance = 'x'", ("--cloud", "local", "--ttl", "soon"), "'soon' is no"),
        ("[tool.stratakit.cloud.far]\nregion = 'x'", ("--profile", "far"), "and has no x"),
    ],
)
def test_an_invalid_cloud_table_or_option_is_refused(
    project: Project, table: str, words: tuple[str, ...], says: str
) -> None:
    settings = project.root / "pyproject.toml"
    before = settings.read_text()
    settings.write_text(f"{before}\n[tool.stratakit.cloud]\n{table}\n")
    try:
        done = project.run(*words)
    finally:
        settings.write_text(before)
    assert done.code == 3, done.said
    assert says in done.err


def test_a_given_host_is_tested_without_launching_a_machine(project: Project) -> None:
    kept = project.run("--skip-teardown")
    assert kept.code == 0, kept.said
    [note] = project.leases.glob("*/machine.json")
    url = json.loads(note.read_text())["url"]
    done = project.run("--host", url)
    assert done.code == 0, done.said
    assert project.rows == {
        **dict.fromkeys(STEPS, "skipped"),
        "health": "passed",
        "request": "passed",
    }
    # The machine is not ours, so the caller has to know the service's secrets.
    (project.root / "services/gateway/tests/smoke.py").write_text(
        "def smoke(url, settings):\n    assert settings == {'GATEWAY_WORD': 'known'}\n"
    )
    done = project.run("--host", url, GATEWAY_WORD="known")
    assert done.code == 0, done.said
    project.green("cloud.down")


def test_secrets_appear_neither_in_output_nor_results_nor_the_process_list(
    project: Project,
) -> None:
    (project.root / "services/gateway/tests/smoke.py").write_text(
        "def smoke(url, settings):\n    raise AssertionError(sorted(settings.items()))\n"
    )
    done = project.begin("--skip-teardown").wait()
    assert done.code == 1, done.said
    assert "GATEWAY_DATABASE_URL" in done.err
    shown = done.said + project.results.read_text() + "".join(project.machines())
    assert "[GATEWAY_DATABASE_URL]" in shown
    assert "postgresql" not in shown
