"""Distributed phases, with requests from other machines: Locust's own master and workers.

The master sends its workers the order and the target, and they send their records at the end, which
are merged and evaluated like those of one machine. Anyone who can reach the master's port can do
either: it belongs in a private network.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gevent
from locust import events, runners
from locust.env import Environment
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerRunner

from . import PATIENCE, arrivals
from .recorder import Recorder
from .samples import Order

UNTOLD = Order(folder="", warm_up=0, seconds=0, users=0, rate=None, processes=1)
"""Order of a worker that has not received one from its master yet."""
LATEST = 60.0
"""Seconds to wait for the records of the workers."""
_ORDER, _END, _NOTES = "strata_order", "strata_end", "strata_notes"


def lead(recorder: Recorder) -> None:
    """Send the order to workers, and write their records to the folder of this process."""
    folder = Path(recorder.order.folder)
    begun: list[MasterRunner] = []

    def listen(environment: Environment, **_: Any) -> None:
        runner = environment.runner
        if isinstance(runner, MasterRunner):
            begun.append(runner)
            runner.register_message(_NOTES, keep)

    def tell(environment: Environment, **_: Any) -> None:
        order = {**asdict(recorder.order), "host": environment.host}
        for runner in begun:
            runner.send_message(_ORDER, order)

    def keep(msg: Message, **_: Any) -> None:
        for name, content in msg.data.items():
            (folder / f"{msg.node_id}{name}").write_bytes(content)

    def finish() -> None:
        for runner in begun:
            # Not `stop`, after which Locust's master forgets its workers and tells none to quit.
            count = runner.worker_count
            runner.send_message(_END)
            with gevent.Timeout(LATEST, False):  # noqa: FBT003  # pyrefly: ignore[bad-argument-type]  # it ends the block silently
                while len([*folder.glob("*.json")]) < count:
                    gevent.sleep(0.1)
            runner.quit()

    events.init.add_listener(listen)
    events.test_start.add_listener(tell)
    recorder.finish = finish


def follow(recorder: Recorder) -> None:
    """Follow the master's orders, and send it the records."""
    patience = int(os.environ[PATIENCE])
    runners.CONNECT_RETRY_COUNT = patience // runners.CONNECT_TIMEOUT  # pyrefly: ignore[bad-assignment]  # typed as its default

    def listen(environment: Environment, **_: Any) -> None:
        if isinstance(environment.runner, WorkerRunner):
            environment.runner.register_message(_ORDER, take)
            environment.runner.register_message(_END, end, concurrent=True)

    def take(environment: Environment, msg: Message, **_: Any) -> None:
        told = dict(msg.data)
        environment.host = told.pop("host")
        recorder.order = Order(**told)
        if recorder.order.rate:
            arrivals.replace_users(recorder)(environment)

    def end(environment: Environment, **_: Any) -> None:
        if environment.runner:
            environment.runner.stop()

    def send(environment: Environment, **_: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="strata-load-") as folder:
            recorder.order = replace(recorder.order, folder=folder)
            recorder.save()
            if isinstance(environment.runner, WorkerRunner):
                environment.runner.send_message(_NOTES, dict(_files(Path(folder))))

    events.init.add_listener(listen)
    events.test_stop.add_listener(send)


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the records by file suffix; the JSON comes last and marks them as complete."""
    for suffix in (".samples", ".json"):
        for file in folder.glob(f"*{suffix}"):
            yield suffix, file.read_bytes()
