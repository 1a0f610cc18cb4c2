"""The part of Hetzner's API that its client uses: locations, server types, servers and keys."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "hetzner-token-of-nobody"  # noqa: S105 - it opens nothing
PLACES = {"fsn1": 1.0, "hel1": 0.9, "ash": 1.2}
"""Locations, with the factor of their prices."""
KINDS = {"cpx11": 0.008, "cpx31": 0.03, "ccx63": 1.2}
"""Server types, with their price in euros an hour."""
ADDRESS = 0.001
"""Price of an address, in euros an hour."""


def price(euros: float, place: str) -> dict[str, Any]:
    return {
        "location": place,
        "price_hourly": {"net": f"{euros / 1.19:.10f}", "gross": f"{euros:.10f}"},
        "price_monthly": {"net": "0", "gross": "0"},
    }


class RefusedError(Exception):
    """Error response of the API."""

    def __init__(self, status: int, code: str) -> None:
        """Take the HTTP status and Hetzner's error code."""
        super().__init__(status, code)
        self.status, self.code = status, code


@dataclass
class Hetzner:
    """The state of an account."""

    address: str = "127.0.0.1"
    """Address of each machine."""
    servers: dict[int, dict[str, Any]] = field(default_factory=dict)
    ssh_keys: dict[int, dict[str, Any]] = field(default_factory=dict)
    sold_out: set[str] = field(default_factory=set)
    """Locations without available machines."""
    refusals: list[tuple[str, RefusedError]] = field(default_factory=list)
    """Errors for the next requests with a prefix such as `DELETE /servers`, in order."""
    requests: list[str] = field(default_factory=list)
    booted: Callable[[list[str]], object] = lambda _: None
    """Called with the public keys that a new machine accepts."""
    late: threading.Event | None = None
    """Event until which requested machines are missing."""
    asked: threading.Event = field(default_factory=threading.Event)
    """Set as soon as a machine was requested."""
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def answer(self, request: str, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a request.

        Raises:
            RefusedError: the next error for such a request.
        """
        self.requests.append(request)
        for refusal in self.refusals:
            if request.startswith(refusal[0]):
                self.refusals.remove(refusal)
                raise refusal[1]
        match request.split("/"):
            case ["GET ", "locations"]:
                return {"locations": [{"id": i, "name": name} for i, name in enumerate(PLACES)]}
            case ["GET ", "pricing"]:
                addresses = [price(ADDRESS, place) for place in PLACES]
                ips = [{"type": "ipv4", "prices": addresses}, {"type": "ipv6", "prices": []}]
                return {"pricing": {"currency": "EUR", "primary_ips": ips}}
            case ["GET ", "server_types"]:
                names = [query["name"]] if "name" in query else list(KINDS)
                return {"server_types": [self._kind(name) for name in names if name in KINDS]}
            case ["GET ", ("servers" | "ssh_keys") as kind]:
                return {kind: [*filter(_matching(query), getattr(self, kind).values())]}
            case ["POST ", "ssh_keys"]:
                return {"ssh_key": self._add(self.ssh_keys, body)}
            case ["POST ", "servers"]:
                return self._make(body)
            case ["DELETE ", ("servers" | "ssh_keys") as kind, number]:
                if getattr(self, kind).pop(int(number), None) is None:
                    raise RefusedError(404, "not_found")
                return {"action": self._action("delete_server")}
            case ["GET ", "actions", number]:
                return {"action": {**self._action("create_server"), "id": int(number)}}
        raise RefusedError(404, "not_found")

    def _kind(self, name: str) -> dict[str, Any]:
        prices = [price(KINDS[name] * factor, place) for place, factor in PLACES.items()]
        places = [
            {"id": i, "name": place, "deprecation": None, "recommended": True}
            | {"available": place not in self.sold_out}
            for i, place in enumerate(PLACES)
        ]
        return {"id": [*KINDS].index(name), "name": name, "prices": prices, "locations": places}

    def _add(self, where: dict[int, dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
        if body["name"] in [each["name"] for each in where.values()]:
            raise RefusedError(409, "uniqueness_error")
        number = next(self._ids)
        where[number] = {"labels": {}, **body, "id": number}
        return where[number]

    def _make(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["server_type"] not in KINDS or body["location"] not in PLACES:
            raise RefusedError(422, "invalid_input")
        if body["location"] in self.sold_out:
            raise RefusedError(412, "resource_unavailable")
        self.asked.set()
        if self.late:
            self.late.wait(60)
        server = self._add(self.servers, body)
        ipv4 = {"id": 1, "ip": self.address, "blocked": False, "dns_ptr": ""}
        known = {"status": "running", "server_type": None, "image": None, "location": None}
        server |= known | {"public_net": {"ipv4": ipv4, "ipv6": None, "floating_ips": []}}
        self.booted([self.ssh_keys[number]["public_key"] for number in body["ssh_keys"]])
        action = self._action("create_server")
        return {"server": server, "action": action, "next_actions": [], "root_password": None}

    def _action(self, command: str) -> dict[str, Any]:
        return {"id": next(self._ids), "command": command, "status": "success", "progress": 100}


def _matching(query: dict[str, str]) -> Callable[[dict[str, Any]], bool]:
    """Return a predicate for the label or the name in a query."""
    name, _, value = query.get("label_selector", "").partition("==")

    def matching(one: dict[str, Any]) -> bool:
        labelled = not name or (name in one["labels"] and value in ("", one["labels"][name]))
        return labelled and query.get("name", one["name"]) == one["name"]

    return matching


@contextmanager
def running(hetzner: Hetzner) -> Iterator[str]:
    """Run the API of an account, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = 200, dict[str, Any]()
            try:
                if self.headers["Authorization"] != f"Bearer {TOKEN}":
                    raise RefusedError(401, "unauthorized")
                request = f"{self.command} {url.path}"
                said = hetzner.answer(request, query, json.loads(body or "{}"))
                said["meta"] = {"pagination": {"page": 1, "per_page": 50, "next_page": None}}
            except RefusedError as error:
                status = error.status
                message = f"the API says {error.code}"
                said = {"error": {"code": error.code, "message": message, "details": None}}
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_DELETE = do_GET  # noqa: N815 - http.server calls them

        def log_message(self, *_: object) -> None:  # pyrefly: ignore[bad-override]
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            if hetzner.late:
                hetzner.late.set()
            server.shutdown()
