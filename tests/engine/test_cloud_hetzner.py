"""Hetzner by its real client, against a small fake of its API, and a machine that is this computer."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import fake_hetzner
import pytest
import sshd
from fake_hetzner import RefusedError
from .hetzner_account import new_lease, plant_smoke_request

from stratakit.cloud import leases, providers, reaper
from stratakit.cloud.__main__ import main
from stratakit.cloud.hetzner import Hetzner
from stratakit.cloud.leases import Lease
from stratakit.errors import AbsentError, ConfigurationError, InfrastructureError, StrataError
from stratakit.servers.waiting import until

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no SSH client")
STARTS = 60.0
NEEDS_SSHD = pytest.mark.skipif(not sshd.PROGRAM, reason=sshd.ABSENT)


@pytest.fixture
def lease(hetzner: Hetzner) -> Lease:
    quote = hetzner.quote("", "")
    return new_lease(instance=quote.instance, region=quote.region)


@pytest.fixture
def booting(account: fake_hetzner.Hetzner, tmp_path: Path, hetzner: Hetzner) -> Iterator[None]:
    """Let this computer stand for new machines, and accept their keys as cloud-init does."""
    with sshd.machine(tmp_path / "machine") as machine:
        account.booted = lambda keys: machine.keys.write_text("\n".join(keys))
        account.address, hetzner.port = machine.host, machine.port
        hetzner.boot = STARTS
        if machine.user != "root":
            # The client always connects as root.
            raise AbsentError("only root is let in as root", part="root")
        yield


def answering(hetzner: Hetzner, lease: Lease) -> providers.Answering:
    found: list[providers.Answering] = []
    until(lambda: found.append(hetzner.answering(lease)), STARTS, unless=StrataError)
    return found[0]


def unbooted(hetzner: Hetzner, lease: Lease) -> None:
    """Launch a machine that accepts no SSH connection."""
    with pytest.raises(InfrastructureError, match="accepts no SSH connection"):
        hetzner.launch(lease)


def test_a_valid_token_is_accepted_after_one_request(
    hetzner: Hetzner, account: fake_hetzner.Hetzner
) -> None:
    hetzner.check()
    assert account.requests == ["GET /locations"]


@pytest.mark.parametrize("token", [None, ""])
def test_a_missing_token_error_says_how_to_set_it(
    monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    monkeypatch.delenv("HCLOUD_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("HCLOUD_TOKEN", token)
    with pytest.raises(InfrastructureError, match="HCLOUD_TOKEN is not set") as caught:
        Hetzner("hetzner").check()
    assert "export HCLOUD_TOKEN=" in caught.value.hint


def test_a_rejected_token_is_reported_but_not_printed(
    hetzner: Hetzner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "expired-token")
    with pytest.raises(
        InfrastructureError, match=r"accept the token: .*\(unauthorized\)"
    ) as caught:
        Hetzner("hetzner").check()
    assert "make a token" in caught.value.hint
    assert "expired-token" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_an_unreachable_api_is_an_infrastructure_error(
    hetzner: Hetzner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCLOUD_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InfrastructureError, match=r"Hetzner does not list machines: .*refused"):
        Hetzner("hetzner").list()


def test_a_quote_is_for_the_cheapest_location_with_an_address_per_started_hour(
    hetzner: Hetzner, account: fake_hetzner.Hetzner
) -> None:
    quote = hetzner.quote("", "")
    assert (quote.instance, quote.region) == ("cpx31", "hel1")
    assert quote.usd_per_hour == pytest.approx((0.03 * 0.9 + 0.001) * 1.25)
    assert quote.usd(900) == quote.usd(3600) == pytest.approx(quote.usd_per_hour)
    assert quote.usd(3601) == pytest.approx(2 * quote.usd_per_hour)
    assert hetzner.quote("cpx11", "ash").region == "ash"
    account.sold_out = {"hel1"}
    assert hetzner.quote("", "").region == "fsn1"


def test_an_unknown_machine_or_region_is_refused_with_a_suggestion(hetzner: Hetzner) -> None:
    with pytest.raises(ConfigurationError, match="no machine 'cpx13'") as caught:
        hetzner.quote("cpx13", "")
    assert caught.value.hint == "did you mean cpx31? it has cpx11, cpx31, ccx63"
    with pytest.raises(ConfigurationError, match="no cpx31 in fsn2") as caught:
        hetzner.quote("", "fsn2")
    assert "did you mean fsn1?" in caught.value.hint


def test_a_sold_out_machine_error_suggests_another_region(
    hetzner: Hetzner, account: fake_hetzner.Hetzner
) -> None:
    account.sold_out = {"hel1"}
    with pytest.raises(InfrastructureError, match="sold out at Hetzner in hel1") as caught:
        hetzner.quote("", "hel1")
    assert caught.value.hint == "--region ash"
    account.sold_out = {*fake_hetzner.PLACES}
    with pytest.raises(InfrastructureError, match="sold out at Hetzner in every place"):
        hetzner.quote("", "")


def test_a_machine_sold_out_after_the_quote_is_reported_and_leaves_nothing(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, lease: Lease
) -> None:
    account.sold_out = {lease.region}
    with pytest.raises(InfrastructureError, match=r"rent a cpx31 in hel1: .*unavailable") as caught:
        hetzner.launch(lease)
    assert "--region" in caught.value.hint
    reaper.end(hetzner, lease.id)
    assert (account.servers, account.ssh_keys) == ({}, {})


@pytest.mark.parametrize(
    ("status", "code", "kind", "hint"),
    [
        (401, "unauthorized", InfrastructureError, "make a token"),
        (403, "token_readonly", InfrastructureError, "read and write"),
        (403, "resource_limit_exceeded", InfrastructureError, "ask Hetzner for a higher limit"),
        (409, "conflict", InfrastructureError, "run it again"),
        (409, "uniqueness_error", InfrastructureError, "cloud.reap --cloud hetzner"),
        (422, "invalid_input", ConfigurationError, "--instance"),
        (429, "rate_limit_exceeded", InfrastructureError, "3,600 requests"),
        (503, "unavailable", InfrastructureError, "status.hetzner.com"),
    ],
)
def test_a_launch_that_stays_refused_is_reported_with_a_hint_and_leaves_nothing(
    hetzner: Hetzner,
    account: fake_hetzner.Hetzner,
    lease: Lease,
    status: int,
    code: str,
    kind: type[StrataError],
    hint: str,
) -> None:
    account.refusals = [("POST /servers", RefusedError(status, code))] * 6
    with pytest.raises(kind, match=rf"rent a cpx31 in hel1: .*\({code}\)") as caught:
        hetzner.launch(lease)
    assert hint in caught.value.hint
    account.refusals = []
    assert [each.state for each in hetzner.list()] == ["only its key"]
    reaper.end(hetzner, lease.id)
    assert (account.servers, account.ssh_keys) == ({}, {})


@pytest.mark.parametrize("code", ["conflict", "rate_limit_exceeded"])
def test_a_temporarily_refused_request_is_retried(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, lease: Lease, code: str
) -> None:
    for request in ("POST /ssh_keys", "POST /servers", "GET /servers", "DELETE /servers"):
        account.refusals.append((request, RefusedError(429, code)))
    unbooted(hetzner, lease)
    assert [(each.tag, each.state) for each in hetzner.list()] == [(lease.id, "running")]
    reaper.end(hetzner, lease.id)
    assert (account.servers, account.ssh_keys, account.refusals) == ({}, {}, [])


def test_only_machines_labelled_with_our_leases_are_listed_and_deleted(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, lease: Lease
) -> None:
    unbooted(hetzner, lease)
    (server,) = account.servers.values()
    others = ("somebody-20300101000000-abcdef", "no lease at all")
    for number, tag in enumerate(others, 900):
        labels = {"labels": {"strata-lease": tag}, "name": tag, "id": number}
        account.servers[number] = {**server, **labels}
    account.servers[999] = {**server, "id": 999, "name": "production", "labels": {}}
    assert server["labels"] == {"strata-lease": lease.id}
    assert [each.tag for each in hetzner.list()] == [lease.id]
    reaper.end(hetzner, lease.id)
    hetzner.terminate(lease.id)
    assert {*account.servers} == {900, 901, 999}


def test_an_expired_machine_without_a_lease_file_is_reaped_by_its_label(
    hetzner: Hetzner, account: fake_hetzner.Hetzner
) -> None:
    over, running = new_lease(-60), new_lease()
    for each in (over, running):
        unbooted(hetzner, each)
        each.forget()
    (line,) = reaper.reap(hetzner)
    assert over.id in line
    assert [each.tag for each in hetzner.list()] == [running.id]
    assert len(account.ssh_keys) == 1


def test_deletion_is_retried_while_a_machine_is_locked(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, lease: Lease
) -> None:
    unbooted(hetzner, lease)
    account.refusals = [("DELETE /servers", RefusedError(423, "locked"))]
    reaper.end(hetzner, lease.id)
    assert account.requests.count("DELETE /servers/2") == 2
    assert account.servers == {}


def test_terminating_an_already_deleted_machine_is_no_error(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, lease: Lease
) -> None:
    unbooted(hetzner, lease)
    account.refusals = [("DELETE /servers", RefusedError(404, "not_found"))]
    hetzner.terminate(lease.id)
    assert (account.refusals, account.ssh_keys) == ([], {})


def test_a_machine_whose_creation_was_interrupted_is_given_back_once_it_exists(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, lease: Lease
) -> None:
    account.late = late = threading.Event()

    class InterruptedLaunchError(BaseException):
        """Exception that a signal raises."""

    # The connection ends before the response arrives, as when a signal is handled meanwhile.
    session = hetzner.client._client._session
    send = session.request

    def request(*arguments: object, **options: object) -> object:
        if options.get("method") == "POST" and str(options["url"]).endswith("/servers"):
            threading.Thread(target=send, args=arguments, kwargs=options, daemon=True).start()
            assert account.asked.wait(30)
            raise InterruptedLaunchError
        return send(*arguments, **options)

    session.request = request
    with pytest.raises(InterruptedLaunchError):
        hetzner.launch(lease)
    assert account.servers == {}

    def look() -> None:
        assert "GET /servers" in account.requests

    looked = threading.Thread(target=lambda: (until(look, STARTS), late.set()))
    looked.start()
    reaper.end(hetzner, lease.id)
    looked.join()
    assert (account.servers, account.ssh_keys) == ({}, {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_ended_during_machine_creation_leaves_nothing_or_is_reaped(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, tmp_path: Path, number: signal.Signals
) -> None:
    plant_smoke_request()
    account.late = threading.Event()
    results = tmp_path / "results.json"
    command = (sys.executable, "-m", "stratakit.cloud", "--results", str(results))
    with subprocess.Popen(
        (*command, "--cloud", "hetzner"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert account.asked.wait(STARTS)
        looks = account.requests.count("GET /servers")
        run.send_signal(number)

        def noticed() -> None:
            assert run.poll() is not None or account.requests.count("GET /servers") > looks

        until(noticed, STARTS)
        account.late.set()
        said, _ = run.communicate()
    if number == signal.SIGKILL:
        assert run.returncode == -number
        until(lambda: next(iter(account.servers)), STARTS)
        (line,) = reaper.reap(hetzner)
        assert "its run is dead" in line
    else:
        assert run.returncode == 1, said
        assert f"the run was interrupted by {number.name}" in said
        rows = {row["name"]: row["status"] for row in json.loads(results.read_text())["tests"]}
        assert (rows["launch"], rows["termination"]) == ("failed", "passed")
    assert (account.servers, account.ssh_keys, leases.all_of()) == ({}, {}, [])


@NEEDS_SSHD
def test_a_launched_machine_responds_returns_logs_and_is_terminated(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, lease: Lease, booting: None
) -> None:
    hetzner.launch(lease)
    (server,) = account.servers.values()
    assert (server["name"], server["labels"]) == (lease.id, {"strata-lease": lease.id})
    assert fake_hetzner.TOKEN not in str(server)
    found = answering(hetzner, lease)
    # This stands for another run, which knows only the lease.
    other = Hetzner("hetzner", port=hetzner.port)
    assert answering(other, lease).settings == found.settings
    assert isinstance(other.logs(lease), str)
    assert other.shell(lease)[0] == "ssh"
    other.terminate(lease.id)
    hetzner.terminate(lease.id)
    assert hetzner.list() == []
    with pytest.raises(InfrastructureError, match=r"has no machine .* any more"):
        hetzner.logs(lease)


@NEEDS_SSHD
@pytest.mark.parametrize("fails", [False, True], ids=["passes", "wrong response"])
def test_all_five_steps_run_on_a_rented_machine_without_showing_secrets(
    hetzner: Hetzner,
    account: fake_hetzner.Hetzner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    fails: bool,
) -> None:
    plant_smoke_request()
    if fails:
        monkeypatch.setenv("ANSWERS_WRONG", "yes")
    results = tmp_path / "results.json"
    with ExitStack() as stack:
        try:
            machine = stack.enter_context(
                sshd.machine(tmp_path / "machine", host=sshd.address(), port=22)
            )
        except OSError as error:
            # The client always connects to port 22.
            why = f"there is no second address whose port 22 is free: {error}"
            raise AbsentError(why, part="port 22") from error
        account.booted = lambda keys: machine.keys.write_text("\n".join(keys))
        account.address = machine.host
        code = main(["--results", str(results), "--cloud", "hetzner"])
    told = "".join(capsys.readouterr())
    assert code == int(fails), told
    rows = {row["name"]: row for row in json.loads(results.read_text())["tests"]}
    states = {name: row["status"] for name, row in rows.items()}
    passed = dict.fromkeys(("credentials", "launch", "health", "request", "termination"), "passed")
    assert states == passed | ({"request": "failed"} if fails else {})
    assert rows["termination"]["metrics"] == {"usd": 0.035}
    assert (account.servers, account.ssh_keys) == ({}, {})
    assert not list((tmp_path / "share").rglob("lease.json"))
    # Neither the API token, nor the SSH key, nor the machine's own secrets may be shown.
    shown = told + results.read_text()
    assert fake_hetzner.TOKEN not in shown
    assert "PRIVATE KEY" not in shown
    assert "postgresql" not in shown
    assert ("[GATEWAY_DATABASE_URL]" in shown) is fails
