"""Interrupted and killed runs of the tier cloud, whose machines are given back or reaped."""

import signal
from collections.abc import Iterator

import pytest

from .renting import MOMENTS, Project, renting

POINTS = 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with renting(tmp_path_factory.mktemp("kills")) as project:
        yield project


@pytest.fixture(scope="module")
def moments(shared: Project) -> int:
    shared.smoke()
    return shared.moments()


@pytest.fixture
def project(shared: Project) -> Iterator[Project]:
    with shared.cleared():
        yield shared


@pytest.mark.parametrize("point", range(POINTS))
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_run_interrupted_at_any_moment_gives_its_machine_back(
    sent: signal.Signals, point: int, moments: int, project: Project
) -> None:
    at = 1 + point * (moments - 1) // (POINTS - 1)
    done = project.run(code=MOMENTS, AT=str(at), SIGNAL=str(int(sent)))
    assert done.code == 1, (at, done.said)
    assert f"the run was interrupted by {sent.name}" in done.err
    assert len(project.rows) == 5
    project.expect_nothing_left()


@pytest.mark.parametrize("point", range(POINTS))
def test_the_machine_of_a_run_killed_at_any_moment_is_reaped(
    point: int, moments: int, project: Project
) -> None:
    at = 1 + point * (moments - 1) // (POINTS - 1)
    done = project.run(code=MOMENTS, AT=str(at), SIGNAL=str(int(signal.SIGKILL)))
    assert done.code == -signal.SIGKILL, (at, done.said)
    project.green("cloud.reap")
    project.expect_nothing_left()
