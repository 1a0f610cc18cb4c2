"""The budgets of the worked example, while its processes and servers are killed repeatedly."""

import http.client
import json
import os
import random
import re
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from baking import INFERENCE, Bakery
from project import Project, listen_elsewhere, until

pytestmark = [pytest.mark.proof(of="example"), pytest.mark.timeout(600)]

PARTS = 5
MOMENTS = 10
"""Number of kills in each part; a sample runs one part."""
VICTIMS = ("gateway", "postgres", "redis")
MINUTE = 60
CUSTOMERS = 4
PRICE = 104_729
"""Price of a token in microcents."""
# Slow enough for kills to hit running requests.
SLOW = "\nGATEWAY_ECHO_PER_TOKEN=0.02\n"
QUESTION: dict[str, Any] = {
    "model": "echo",
    "messages": [{"role": "user", "content": "one two three four five six"}],
    "max_tokens": 30,
}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
LEDGER = """
import json, os, psycopg, dotenv
url = dotenv.dotenv_values(".env")["GATEWAY_DATABASE_URL"].replace("+asyncpg", "")
with psycopg.connect(url) as connection:
    query = "SELECT spent_microcents::bigint, (SELECT count(*) FROM reservations WHERE microcents > 0) FROM teams"
    print(json.dumps(connection.execute(query).fetchone()))
"""


class Running(Project):
    """The example, run by its stack on embedded servers."""

    def invoke(self, *arguments: str) -> str:
        """Run actions that must succeed; return their output."""
        env = {"STRATA_SERVERS": "embedded"}
        return self.run(".venv/bin/invoke", *arguments, env=env).stdout

    def up(self) -> dict[str, int]:
        """Start whatever is down; return the process ids by name."""
        printed = self.invoke("stack.up", "stack.status", "--json")
        [listed] = re.findall(r"^\[$.*", printed, re.MULTILINE | re.DOTALL)
        return {each["name"]: each["process"] for each in json.loads(listed)}

    def setting(self, name: str) -> str:
        """Return the value of a setting in `.env`."""
        text = (self.path / ".env").read_text(encoding="utf-8")
        [value] = re.findall(rf"^{name}=(.+)$", text, re.MULTILINE)
        return str(value).strip("'\"")

    def ledger(self) -> tuple[int, int]:
        """Return the team's spending, and the number of open reservations."""
        spent, held = json.loads(self.run(".venv/bin/python", "-c", LEDGER).stdout)
        return spent, held


class Api:
    """Requests with one credential."""

    def __init__(self, port: int, credential: str) -> None:
        """Set the port of the gateway and the credential."""
        self._port = port
        self._headers = {
            "Authorization": f"Bearer {credential}",
            "Content-Type": "application/json",
        }

    def ask(self, method: str, path: str, body: object) -> tuple[int, str]:
        """Return the status and the whole body of a response."""
        connection = http.client.HTTPConnection("localhost", self._port, timeout=MINUTE)
        try:
            connection.request(method, path, json.dumps(body), self._headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def make(self, kind: str, **body: object) -> dict[str, Any]:
        """Create a resource as an administrator."""
        status, answer = self.ask("POST", f"/admin/{kind}", body)
        assert status == 201, answer
        made: dict[str, Any] = json.loads(answer)
        return made


class Customer(Thread):
    """Sends requests in a loop; counts complete responses, and requests with an unknown outcome."""

    def __init__(self, api: Api, over: Event) -> None:
        """Use `api` until `over` is set."""
        super().__init__(daemon=True)
        self.answered = 0
        self.tokens = 0
        self.unknown = 0
        self._api = api
        self._over = over

    def run(self) -> None:
        """Send requests until `over` is set."""
        for more in cycle(({}, STREAM)):
            if self._over.is_set():
                return
            try:
                status, answer = self._api.ask("POST", "/v1/chat/completions", QUESTION | more)
            except ConnectionRefusedError:
                continue
            except (OSError, http.client.HTTPException):
                self.unknown += 1
                continue
            if status == http.HTTPStatus.OK:
                self._count(answer, stream=bool(more))

    def _count(self, answer: str, *, stream: bool) -> None:
        if stream and not answer.endswith("data: [DONE]\n\n"):
            self.unknown += 1
            return
        self.answered += 1
        [total] = re.findall(r'"total_tokens":(\d+)', answer)
        self.tokens += int(total)


@pytest.fixture
def running(bake: Bakery, tmp_path: Path) -> Iterator[Running]:
    """The example, with its stack cleaned afterwards."""
    slug = f"killed-{secrets.token_hex(4)}"
    baked = bake.into(tmp_path, INFERENCE, project_name="Acme Killed", project_slug=slug)
    listen_elsewhere(baked)
    running = Running(baked.path, baked.answers, baked.environment)
    running.run("uv", "run", "--quiet", "invoke", "setup", env={"STRATA_SERVERS": "embedded"})
    with (running.path / ".env").open("a", encoding="utf-8") as env:
        env.write(SLOW)
    yield running
    running.invoke("stack.down")
    for place in ("cache", "data"):
        find = f"from stratakit.servers import home; print(home.{place}())"
        shutil.rmtree(running.run(".venv/bin/python", "-c", find).stdout.strip())


def paying(running: Running, port: int) -> Api:
    """Give the model a price and a team a budget; return the team's API."""
    admin = Api(port, running.setting("GATEWAY_ADMIN_TOKEN"))
    config = {
        "models": {"echo": {"provider": "echo", "model": "echo"}},
        "prices": {"echo": PRICE},
        "requests_per_minute": 10**9,
        "tokens_per_minute": 10**9,
        "max_tokens": 30,
    }
    status, answer = admin.ask("PUT", "/admin/config", config)
    assert status == http.HTTPStatus.OK, answer
    team = admin.make("teams", name="killed", budget_cents=2**31 - 1)
    user = admin.make("users", team_id=team["id"], email="ann@example.org")
    return Api(port, admin.make("keys", user_id=user["id"])["key"])


@pytest.mark.parametrize("part", range(PARTS))
def test_team_spending_is_exact_to_the_microcent_a_minute_after_repeated_kills(
    running: Running, part: int
) -> None:
    manifest = (running.path / "services/gateway/pyproject.toml").read_text(encoding="utf-8")
    port = int(manifest.partition("\nport = ")[2].partition("\n")[0])
    processes = running.up()
    over = Event()
    customers = [Customer(paying(running, port), over)]
    customers += [Customer(customers[0]._api, over) for _ in range(CUSTOMERS - 1)]
    for customer in customers:
        customer.start()

    def answered() -> int:
        return sum(customer.answered for customer in customers)

    seed = secrets.randbelow(2**32)
    chance = random.Random(seed)  # noqa: S311 - chooses moments only
    for moment in range(MOMENTS):
        enough = answered() + chance.randrange(1, 3 * CUSTOMERS)
        until(lambda: answered() >= enough)  # noqa: B023 - awaited here
        os.kill(processes[VICTIMS[(part + moment) % len(VICTIMS)]], signal.SIGKILL)
        processes = running.up()
    until(lambda: answered() > enough)
    over.set()
    for customer in customers:
        customer.join()

    tokens = sum(customer.tokens for customer in customers)
    each = tokens // answered() * PRICE
    # An interrupted request has cost as much as a complete one, or nothing.
    most = sum(customer.unknown for customer in customers)
    end = time.monotonic() + MINUTE
    while True:
        spent, held = running.ledger()
        more, rest = divmod(spent - tokens * PRICE, each)
        if (held, rest) == (0, 0) and 0 <= more <= most:
            break
        assert time.monotonic() < end, (seed, spent, held, tokens * PRICE, more, rest, most)
