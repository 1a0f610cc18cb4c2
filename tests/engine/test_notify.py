"""Reports of a red night: an issue, and a webhook. On a small fake `gh`, and a local receiver."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from stratakit.pyproject import ROOT

from .scratch import INVOKE, program

URL = "https://github.com/acme/shop/actions/runs/7"
RUN = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_RUN_ID": "7",
    "GITHUB_WORKFLOW": "nightly",
}
# A fake of `gh issue` (list, create, comment and close) on a file of issues.
GH = """
import json, pathlib, sys

file = pathlib.Path({issues!r})
issues = json.loads(file.read_text()) if file.exists() else []
_, command, *words = sys.argv[1:]
named = {{key: words[words.index(key) + 1] for key in words if key.startswith("--")}}
if command == "list":
    open_ = [each for each in issues if each["state"] == named["--state"]]
    keys = named["--json"].split(",")
    print(json.dumps([{{key: each[key] for key in keys}} for each in open_]))
elif command == "create":
    issue = {{"number": len(issues) + 1, "title": named["--title"], "state": "open"}}
    issues.append({{**issue, "said": [named["--body"]]}})
else:
    issue = next(each for each in issues if each["number"] == int(words[0]))
    issue["said"].append(named["--body" if command == "comment" else "--comment"])
    issue["state"] = "closed" if command == "close" else issue["state"]
file.write_text(json.dumps(issues))
"""


class Receiver(BaseHTTPRequestHandler):
    """Handler that stores posted messages."""

    posted: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_POST(self) -> None:
        """Accept a message, unless the path says that the webhook is gone."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((self.path, json.loads(body)))
        self.send_response(404 if "gone" in self.path else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    """URL of a server that accepts messages."""
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Receiver.posted.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def issues(tmp_path: Path) -> Path:
    """File with the issues of a fake `gh` that is first on PATH."""
    file = tmp_path / "issues.json"
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "gh", GH.format(issues=str(file)))
    return file


def notify(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if "GITHUB" not in name}
    return subprocess.run(
        (sys.executable, "-c", INVOKE, "ci.notify", *words),
        cwd=ROOT,
        env={**inherited, **RUN, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_red_nights_share_one_issue_that_the_next_green_night_closes(
    issues: Path,
) -> None:
    path = f"{issues.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    nights = ("success", "failure", "failure success", "success cancelled", "success", "success")
    for results in nights:
        done = notify(results, "--issue", PATH=path)
        assert done.returncode == 0, done.stderr
    (issue,) = json.loads(issues.read_text(encoding="utf-8"))
    assert issue["title"] == "The nightly run is red"
    assert issue["state"] == "closed"
    red, green = f"nightly is red: {URL}", f"nightly is green: {URL}"
    assert issue["said"] == [red, red, green]
    assert notify("failure", "--issue", PATH=path).returncode == 0
    states = [each["state"] for each in json.loads(issues.read_text(encoding="utf-8"))]
    assert states == ["closed", "open"]


def test_each_workflow_has_its_own_issue(issues: Path) -> None:
    path = f"{issues.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for workflow in ("nightly", "cloud"):
        done = notify("failure", "--issue", PATH=path, GITHUB_WORKFLOW=workflow)
        assert done.returncode == 0, done.stderr
    titles = [each["title"] for each in json.loads(issues.read_text(encoding="utf-8"))]
    assert titles == ["The nightly run is red", "The cloud run is red"]


@pytest.mark.parametrize(
    ("path", "key"), [("/services/T0/B0/x", "text"), ("/api/webhooks/1/x", "content")]
)
def test_a_red_run_is_posted_to_slack_or_discord_in_one_line(
    path: str, key: str, receiver: str
) -> None:
    for results in ("success", "skipped success", "cancelled", "failure success"):
        done = notify(results, NOTIFY_WEBHOOK_URL=f"{receiver}{path}")
        assert done.returncode == 0, done.stderr
    assert Receiver.posted == [(path, {key: f"nightly is red: {URL}"})]


@pytest.mark.parametrize("webhook", ["{receiver}/gone/x7", "http://127.0.0.1:1/x7", "no URL x7"])
def test_a_failing_webhook_is_reported_without_its_address(webhook: str, receiver: str) -> None:
    done = notify("failure", NOTIFY_WEBHOOK_URL=webhook.format(receiver=receiver))
    assert done.returncode == 2, done.stdout
    assert "the webhook in NOTIFY_WEBHOOK_URL does not take the message" in done.stderr
    assert "x7" not in done.stdout + done.stderr


def test_notify_outside_a_workflow_fails_and_names_the_missing_variable() -> None:
    done = notify("failure", GITHUB_RUN_ID="")
    assert done.returncode == 3
    assert "GITHUB_RUN_ID is not set" in done.stderr
