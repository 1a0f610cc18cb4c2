"""Open arrivals: tasks that start on schedule, whether or not earlier ones have finished.

Locust's users wait for a response before they send the next request, so that a server which stalls
for a second gets no requests meanwhile, and ten requests record the stall where a hundred would
have hit it (coordinated omission). Here each arrival is a task of its own, and its latency counts
from its scheduled start. Arrivals model independent clients: the intervals between them are
exponential (a Poisson process), no matter how many processes share them.
"""

import copy
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pool import Group
from locust import FastHttpUser, User, task
from locust.env import Environment
from locust.exception import InterruptTaskSet, RescheduleTask, StopUser
from locust.user.task import DefaultTaskSet

from .recorder import Recorder

CONNECTIONS = 10_000
"""Maximum of concurrent requests of one user's client, high enough for all arrivals."""


def replace_users(recorder: Recorder) -> Callable[..., None]:
    """Return a listener that replaces the scenario's users with arrivals of them."""

    def listen(environment: Environment, **_: Any) -> None:
        # Locust filters at the start, when it would only see our replacement.
        environment._filter_tasks_by_tags()  # noqa: SLF001 - there is no public method
        scenario = [*environment.user_classes]
        for each in scenario:
            each.host = environment.host or each.host
            if issubclass(each, FastHttpUser):
                each.concurrency = CONNECTIONS
        environment.user_classes = [_arriving(scenario, recorder)]

    return listen


def _arriving(scenario: list[type[User]], recorder: Recorder) -> type[User]:
    class Arrivals(User):
        @task
        def arrive(self) -> None:
            _Arrivals(scenario, recorder, self.environment).run()
            raise StopUser

    return Arrivals


class _Arrivals:
    def __init__(
        self, scenario: list[type[User]], recorder: Recorder, environment: Environment
    ) -> None:
        order = recorder.order
        self._recorder = recorder
        self._environment = environment
        self._rate = (order.rate or 0) / order.processes
        self._random = random.Random()  # noqa: S311 - no secret
        weights = [each.fixed_count or each.weight for each in scenario]
        count = -(-order.users // order.processes)
        self._users = [
            each(environment) for each in self._random.choices(scenario, weights, k=count)
        ]
        # Used in turn, since servers close connections that are idle for long.
        self._idle = deque(self._users)

    def run(self) -> None:
        """Start arrivals until the phase is over, and wait for those in flight."""
        starting = Group()
        for user in self._users:
            starting.spawn(self._guarded, user, user.on_start)
        starting.join()
        recorder = self._recorder
        end = recorder.counts_from + recorder.order.seconds
        group = Group()
        due = time.time()
        while (due := due + self._random.expovariate(self._rate)) < end:
            gevent.sleep(max(0.0, due - time.time()))
            group.spawn(self._arrive, due)
        group.join()

    def _arrive(self, due: float) -> None:
        """Run one task, with an idle user or else with a copy of one."""
        recorder = self._recorder
        now = time.time()
        if now >= recorder.counts_from:
            recorder.late_ms.append((now - due) * 1000)
        current: Any = gevent.getcurrent()
        current.intended = due
        free = bool(self._idle)
        user = self._idle.popleft() if free else copy.copy(self._random.choice(self._users))
        tasks = DefaultTaskSet(user)
        recorder.under_way[current] = due
        try:
            self._guarded(user, lambda: tasks.execute_task(tasks.get_next_task()))
        finally:
            del recorder.under_way[current]
            if free:
                self._idle.append(user)

    def _guarded(self, user: User, run: Callable[[], object]) -> None:
        try:
            run()
        except (InterruptTaskSet, RescheduleTask, StopUser):
            pass
        except Exception as error:  # noqa: BLE001 - as in Locust, one bug does not stop the test
            self._environment.events.user_error.fire(
                user_instance=user, exception=error, tb=error.__traceback__
            )
