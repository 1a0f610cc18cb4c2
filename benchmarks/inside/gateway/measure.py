"""Runs inside a baked project, in its environment: measures, and prints samples as JSON.

The measured server has a core of its own if the platform supports that. The gateway, a no-op FastAPI
application and LiteLLM's proxy take turns, so that changes in the machine's speed affect all of them.
"""

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clients
import httpx2
import lite
import operations
import psutil
from stratakit import database, names, project, redis_databases, servers, settings
from stratakit.programs import free_port
from stratakit.servers.home import cache
from stratakit.testing import Service, serving

ADMIN = "for-this-benchmark-alone"
SECRET = ADMIN * 2
BARE = Path(__file__).with_name("bare.py")
PATH = "/v1/chat/completions"
PLENTY = 2**31 - 1
WARM_UP = 64
"""Number of requests before the measured ones of each turn."""
SHARE = {"litellm": 10}
"""Divisors of the number of requests, for much slower servers."""


@dataclass(frozen=True)
class Server:
    """A server process, and the requests to send to it."""

    process: psutil.Process
    port: int
    payloads: Mapping[str, bytes]

    def measure(self, what: str, requests: int) -> dict[str, float]:
        """Return its CPU microseconds per request, requests per second, and memory."""
        clients.load(self.port, self.payloads[what], WARM_UP)
        before, began = self._cpu(), time.perf_counter()
        clients.load(self.port, self.payloads[what], requests)
        seconds = time.perf_counter() - began
        return {
            "microseconds": (self._cpu() - before) / requests * 1e6,
            "a second": requests / seconds,
            "MiB": self.process.memory_info().rss / 2**20,
        }

    def _cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


def main() -> None:
    """Measure everything and write it to the given file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--requests", type=int, required=True)
    options = parser.parse_args()
    core = leave_a_core()
    try:
        with servers.lease(settings.load()) as up, all_three(up, core) as (served, address):
            found: dict[str, Any] = {"requests": {}}
            for number in range(1, options.rounds + 1):
                print(f"round {number} of {options.rounds}", flush=True)
                for what in served["gateway"].payloads:
                    asked = [name for name, each in served.items() if what in each.payloads]
                    for name in random.sample(asked, len(asked)):
                        requests = options.requests // SHARE.get(name, 1)
                        sample = served[name].measure(what, requests)
                        found["requests"].setdefault(what, {}).setdefault(name, []).append(sample)
            found["operations"] = operations.measure(address)
    finally:
        shutil.rmtree(cache(), ignore_errors=True)
    options.file.write_text(json.dumps(found), encoding="utf-8")


@contextmanager
def all_three(up: dict[servers.Kind, servers.Server], core: list[int]) -> Iterator[Any]:
    """Run all servers on this core; yield them by name, and the URL of the database."""
    gateway = project.service("gateway")
    given, redis = up["postgres"].url, up["redis"]
    with (
        database.run(given) as run,
        redis_databases.claim(redis.url) as keyspace,
        tempfile.TemporaryDirectory() as folder,
    ):
        name = names.database(run, "bench")
        database.clone(given, database.template(given, gateway), name)
        address = database.url(given, name).render_as_string(hide_password=False)
        own = {
            "DATABASE_URL": address,
            "REDIS_URL": keyspace.url,
            "ADMIN_TOKEN": ADMIN,
            "SECRET": SECRET,
        }
        try:
            with (
                serving("gateway", own, prefix="GATEWAY_", folder=Path(folder)) as service,
                bare() as nothing,
                lite.proxy(Path(folder), port := free_port()) as proxy,
            ):
                asyncio.run(service.ready())
                asks = {"whole": clients.request(PATH, clients.WHOLE, lite.KEY)}
                litellm = Server(psutil.Process(proxy.pid), port, asks)
                served = {"gateway": prepared(service), "bare": nothing, "litellm": litellm}
                if core:
                    for server in served.values():
                        server.process.cpu_affinity(core)
                yield served, address
        finally:
            with database.connect(given) as connection:
                database.drop(connection, name)


def prepared(service: Service) -> Server:
    """Create a team, a key, a free and a paid alias, and a quota; return the server to measure."""
    with httpx2.Client(base_url=service.url) as client:
        admin = {"Authorization": f"Bearer {ADMIN}"}

        def make(kind: str, **body: object) -> dict[str, Any]:
            response = client.post(f"/admin/{kind}", json=body, headers=admin)
            response.raise_for_status()
            made: dict[str, Any] = response.json()
            return made

        team = make("teams", name="bench", budget_cents=PLENTY)["id"]
        user = make("users", team_id=team, email="bench@example.org")["id"]
        key = make("keys", user_id=user)["key"]
        make("quotas", team_id=team, requests_per_minute=PLENTY, tokens_per_minute=PLENTY)
        make("aliases", team_id=team, alias="own", target="echo", provider="echo")
        make("aliases", team_id=team, alias="dear", target="dear", provider="echo")
        config = client.get("/admin/config", headers=admin).json()
        config.pop("version")
        config["prices"] |= {"dear": 1}
        client.put("/admin/config", json=config, headers=admin).raise_for_status()
    return Server(
        psutil.Process(service.process.pid),
        int(service.url.rpartition(":")[2]),
        {
            "whole": clients.request(PATH, clients.WHOLE, key),
            "whole, paid for": clients.request(PATH, clients.WHOLE | {"model": "dear"}, key),
            "streamed": clients.request(PATH, clients.STREAM, key),
        },
    )


@contextmanager
def bare() -> Iterator[Server]:
    """Run the no-op application."""
    port = free_port()
    with subprocess.Popen([sys.executable, str(BARE), str(port)]) as process:
        try:
            asyncio.run(Service(process, port, BARE).ready())
            whole = clients.request("/whole", clients.WHOLE)
            streamed = clients.request("/stream", clients.STREAM)
            payloads = {"whole": whole, "whole, paid for": whole, "streamed": streamed}
            yield Server(psutil.Process(process.pid), port, payloads)
        finally:
            process.terminate()


def leave_a_core() -> list[int]:
    """Keep this process and its children off a core; return that core, or none if unsupported.

    Otherwise clients and databases would at times share a core with the measured server.
    """
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        return []
    *others, core = process.cpu_affinity()
    if not others:
        return []
    process.cpu_affinity(others)
    return [core]


if __name__ == "__main__":
    main()
