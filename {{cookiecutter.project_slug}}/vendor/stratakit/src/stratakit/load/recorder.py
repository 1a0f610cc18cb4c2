"""Recorder in each Locust process: raw samples, bugs in the scenario, and the process's lateness.

Each process writes two files at the end, which the driver reads: `PID.samples` and `PID.json`.
"""

import functools
import json
import os
import time
import traceback
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import gevent
from geventhttpclient.useragent import ConnectionError as FailedRequestError
from locust import User, events
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastRequest, LocustUserAgent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from .. import results
from . import SCENARIO
from .samples import ITL, REQUEST, TTFT, Order, Samples

UNANSWERED = "not answered when the phase was over"
SLACK = 0.2
"""Seconds that other processes may have started after the one that ends the phase."""
TICK = 0.05
"""Seconds between two measurements of this process's lateness."""


class Recorder:
    """Records of this process."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.samples = Samples()
        self.bugs: Counter[str] = Counter()
        self.late_ms: list[float] = []
        self.under_way: dict[Any, float] = {}
        """Arrivals in flight, with their scheduled start."""
        self.tasks = 0
        """Number of tasks started during the measurement."""
        self.foreign = ""
        self.finish: Any = None
        """Function that ends the phase, instead of Locust's `quit`."""
        self.began = 0.0
        self._cpu = 0.0
        self._environment: Environment | None = None

    def listen(self) -> None:
        """Register for Locust's events."""
        events.init.add_listener(self._count_tasks)
        events.test_start.add_listener(self._start)
        events.request.add_listener(self._request)
        events.user_error.add_listener(self._user_error)
        _refuse_redirects(self)

    @property
    def counts_from(self) -> float:
        """Time at which the warm-up ends, in seconds since the epoch."""
        return self.began + self.order.warm_up

    def leave(self, url: str, location: str) -> None:
        """Stop, since the host redirects to another one."""
        self.foreign = f"{url} redirects to {location}"
        if self._environment and self._environment.runner:
            gevent.spawn(self._environment.runner.quit)

    def save(self, **_: Any) -> None:
        """Write the records; a process that has run no users writes nothing."""
        if not self.began:
            return
        folder = Path(self.order.folder)
        for due in self.under_way.values():
            self.samples.add((due, (time.time() - due) * 1000, "(all)", REQUEST, UNANSWERED))
        self.samples.window(self.counts_from, self.order.seconds).save(
            folder / f"{os.getpid()}.samples"
        )
        counted = max(time.time() - self.counts_from, 1e-9)
        facts = {
            "began": self.counts_from,
            "late_ms": sorted(self.late_ms),
            "cpu": max(0.0, time.process_time() - self._cpu) / counted if self._cpu else 0.0,
            "tasks": self.tasks,
            "bugs": self.bugs,
            "foreign": self.foreign,
        }
        results.write(folder / f"{os.getpid()}.json", json.dumps(facts))

    def _count_tasks(self, environment: Environment, **_: Any) -> None:
        for each in environment.user_classes:
            each.tasks = [self._counted(task) for task in each.tasks]

    def _counted(self, task: Any) -> Any:
        if isinstance(task, type):
            return task

        @functools.wraps(task)
        def counted(user: User) -> None:
            # Like its sample, an arrival counts at its scheduled start, however late it is.
            begun = getattr(gevent.getcurrent(), "intended", None) or time.time()
            self.tasks += 0 <= begun - self.counts_from < self.order.seconds
            task(user)

        return counted

    def _start(self, environment: Environment, **_: Any) -> None:
        self._environment, runner = environment, environment.runner
        if runner and not isinstance(runner, WorkerRunner):
            # Not Locust's own timer, which starts before ours.
            gevent.spawn_later(
                self.order.warm_up + self.order.seconds + SLACK, self.finish or runner.quit
            )
        # A master process has no users itself.
        if not isinstance(runner, MasterRunner):
            self.began = time.time()
            gevent.spawn_later(self.order.warm_up, self._watch)

    def _watch(self) -> None:
        """Record the lateness and CPU time of this process after the warm-up."""
        self._cpu = time.process_time()
        while self.order.rate is None:
            due = time.perf_counter() + TICK
            gevent.sleep(TICK)
            self.late_ms.append((time.perf_counter() - due) * 1000)

    def _request(
        self,
        request_type: str,
        name: str,
        response_time: float,
        exception: BaseException | None = None,
        start_time: float | None = None,
        **_: Any,
    ) -> None:
        started = time.time() - response_time / 1000 if start_time is None else start_time
        timed = request_type if request_type in (TTFT, ITL) else REQUEST
        current: Any = gevent.getcurrent()
        intended = getattr(current, "intended", None)
        # The first request of an arrival, and its stream, count from the scheduled start.
        if intended is not None and timed != ITL:
            response_time += (started - intended) * 1000
            started = intended
            if timed == REQUEST:
                current.intended = None
        title = f"{request_type} {name}" if timed == REQUEST else name
        error = _said(exception) if exception else None
        self.samples.add((float(started), float(response_time), title, timed, error))

    def _user_error(self, exception: Exception, tb: TracebackType, **_: Any) -> None:
        frames = traceback.extract_tb(tb)
        ours = [each for each in frames if Path(each.filename).name == SCENARIO.name] or frames
        place = f" ({Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
        self.bugs[f"{type(exception).__name__}: {exception}{place}"] += 1


def _said(exception: BaseException) -> str:
    """Return an error's text, equal for requests that failed in the same way."""
    code = getattr(exception, "code", None)
    if code:
        return f"status {code}"
    text = str(exception)
    return (
        text
        if type(exception).__name__ == "CatchResponseError"
        else f"{type(exception).__name__}: {text}"
    )


def _refuse_redirects(recorder: Recorder) -> None:
    """Block redirects to other hosts, which we have no permission to load-test."""

    class Request(FastRequest):
        def redirect(self, code: int, location: str) -> None:
            if self.url_split.redirect(location).host != self.original_host:
                recorder.leave(str(self.url), location)
                raise FailedRequestError(self.url, "a redirect to another host was not followed")
            super().redirect(code, location)

    LocustUserAgent.request_type = Request
    usual = HttpSession.get_redirect_target

    def target(session: HttpSession, resp: Any) -> str | None:
        from urllib.parse import urljoin, urlsplit

        location: str | None = usual(session, resp)
        if (
            location
            and urlsplit(urljoin(resp.url, location)).hostname != urlsplit(resp.url).hostname
        ):
            recorder.leave(resp.url, location)
            return None
        return location

    HttpSession.get_redirect_target = target  # pyrefly: ignore[bad-assignment, method-assign]  # no hook
