"""Phases of a load test: Locust in processes of its own, and their results."""

import json
import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .. import limits
from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..programs import free_port
from ..progress import progress
from ..pyproject import ROOT
from ..servers.waiting import until
from ..testing.serving import TIED, child
from . import SCENARIO
from .samples import REQUEST, Generator, Order, PhaseRun, Samples
from .stats import percentile
from .target import Target

SETTLE = 2.0
"""Seconds of warm-up after the last user has started, to fill connection pools and caches."""
CEILING = 2.0
"""Seconds of the measurement of the generator's own maximum."""
STOP = 10
"""Seconds that requests in flight may take after a phase is over."""
_PROCESSES = re.compile(r"--(?:processes|expect-workers)[= ](-?\d+)")
MASTER = "--master"
"""Locust's option for a process with workers on other machines."""
GATHER = 300
"""Seconds to wait for the workers of a master, which may have to pull an image first."""


def run_phase(  # noqa: PLR0913 - each is a fact of its own
    home: Path,
    target: Target,
    *,
    users: int,
    spawn_rate: float,
    seconds: float,
    rate: float | None,
    extra: Sequence[str],
    folder: Path,
    scenario: Path = SCENARIO,
) -> PhaseRun:
    """Run the scenario of the service in `home` against a target, and return the results.

    Args:
        home: the folder of the service.
        target: the service to send requests to.
        users: number of concurrent users; for open arrivals, of users created at the start.
        spawn_rate: number of users to start per second.
        seconds: duration of the measurement.
        rate: tasks arriving per second, whether or not others are in flight; None for users that
            wait for their responses.
        extra: options for Locust.
        folder: a new folder to write to.
        scenario: another locustfile, relative to `home`.

    Raises:
        ConfigurationError: Locust refuses an option, or the target redirects to another host.
        InfrastructureError: no request was made, or Locust does not finish.
        StrataError: there is a bug in the scenario, or the target has exited.
    """
    folder.mkdir(parents=True)
    processes = _processes(extra)
    # Open arrivals need only one Locust user per process, which generates them.
    started = users if rate is None else processes
    ramp = users / spawn_rate if rate is None else 1.0
    order = Order(str(folder), ramp + SETTLE, seconds, users, rate, processes)
    words = (
        *(sys.executable, "-m", "stratakit.load.generator"),
        *("--locustfile", str(home / scenario), "--headless"),
        *("--host", target.url, "--users", str(started)),
        *("--spawn-rate", str(spawn_rate if rate is None else started)),
        # Only an upper limit: the recorder ends the phase.
        *("--run-time", f"{round(order.warm_up + seconds) + 2 * STOP}s"),
        *("--stop-timeout", str(STOP), "--only-summary", "--exit-code-on-error", "0"),
        *extra,
    )
    output = folder / "output"
    env = {**os.environ, **target.variables, **order.variables()}
    name = f"{f'{users} users' if rate is None else f'{rate:g} arrivals a second'}"
    with progress(f"load: {name}, {seconds:g} s"), child(words, output, env=env) as process:
        patience = 60 + (GATHER if MASTER in extra else 0)
        deadline = time.monotonic() + order.warm_up + seconds + STOP + patience
        parent = os.getppid()
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"Locust did not finish in time:\n{_tail(output)}", "run it again"
                )
            if os.getppid() != parent:
                raise KeyboardInterrupt
            target.refuse_dead()
            time.sleep(0.1)  # Polling, since the parent and the target are checked as well.
    return _read(folder, order, process.returncode, home / scenario)


def ceiling(folder: Path, users: int, extra: Sequence[str]) -> float:
    """Return the requests per second that Locust can make to a server that does nothing."""
    port, processes = free_port(), _processes(extra)
    (folder / "ceiling").mkdir()
    with child((*TIED, "stratakit.load.ceiling", str(port)), folder / "ceiling" / "server"):
        until(lambda: socket.create_connection(("127.0.0.1", port)).close(), limits.PROCESS)
        run = run_phase(
            Path(__file__).parent,
            Target(f"http://127.0.0.1:{port}"),
            users=users,
            spawn_rate=users,
            seconds=CEILING,
            rate=None,
            extra=("--processes", str(processes)) if processes > 1 else (),
            folder=folder / "ceiling" / "phase",
            scenario=Path("nothing.py"),
        )
    return len(run.samples) / run.seconds


def _read(folder: Path, order: Order, code: int, scenario: Path) -> PhaseRun:
    facts = [json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))]
    for each in facts:
        if each["foreign"]:
            raise ConfigurationError(
                f"{each['foreign']}: another host, which is not the target",
                "pass that one as --host, if it may be load-tested",
            )
    output = folder / "output"
    if code == 2 and "error: " in _tail(output):  # noqa: PLR2004 - that of argparse
        raise ConfigurationError(
            f"Locust refuses its options: {_tail(output).rpartition('error: ')[2]}",
            "uv run nox -s load -- --help",
        )
    bugs: Counter[str] = sum((Counter(each["bugs"]) for each in facts), Counter())
    shown = scenario.relative_to(ROOT) if scenario.is_relative_to(ROOT) else scenario
    if bugs:
        listed = "\n".join(f"  {count} times {bug}" for bug, count in bugs.most_common(5))
        raise StrataError(
            f"there is a bug in the scenario {shown}:\n{listed}",
            "a failed request raises no exception: end the task if there is no response",
        )
    if code or not facts:
        raise StrataError(f"the scenario {shown} cannot be run:\n{_tail(output)}", f"fix {shown}")
    # The remaining processes made only their share, which would pass for the whole load.
    lost = order.processes - len(facts)
    if lost > 0:
        raise InfrastructureError(
            f"{lost} of {order.processes} processes that make requests exited early:\n"
            f"{_tail(output)}",
            "find the cause, such as a lack of memory, and run it again",
        )
    samples = Samples.load(sorted(folder.glob("*.samples")))
    if not any(timed == REQUEST for _, _, _, timed, _ in samples):
        raise InfrastructureError(
            f"no request was made in {order.seconds:g} s by the scenario {shown}:\n{_tail(output)}",
            "let its tasks make some, or give them more time: -t 60s",
        )
    late = sorted(value for each in facts for value in each["late_ms"])
    generator = Generator(
        late_p99_ms=percentile(late, 0.99) if late else 0.0, cpu=max(each["cpu"] for each in facts)
    )
    began = min(each["began"] for each in facts)
    tasks = sum(each["tasks"] for each in facts)
    return PhaseRun(samples, began, order.seconds, generator, tasks)


def _processes(extra: Sequence[str]) -> int:
    """Return the number of processes in the options for Locust."""
    found = _PROCESSES.search(" ".join(extra))
    count = int(found[1]) if found else 1
    return count if count > 0 else os.cpu_count() or 1


def _tail(output: Path, lines: int = 12) -> str:
    """Return the last lines of Locust's output."""
    return "\n".join(output.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
