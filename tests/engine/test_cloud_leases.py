"""Limits on money and time, and machines refused or given back because of them."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fake_hetzner
import pytest
from fake_hetzner import RefusedError
from .hetzner_account import new_lease, plant_smoke_request
from .installed_programs import need

from stratakit.cloud import leases, reaper
from stratakit.cloud.__main__ import main
from stratakit.cloud.hetzner import Hetzner
from stratakit.cloud.leases import Lease
from stratakit.cloud.local import Local
from stratakit.cloud.providers import Machine
from stratakit.errors import InfrastructureError

MINUTE, HOUR, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=365)


@pytest.fixture
def run(hetzner: Hetzner, tmp_path: Path) -> Callable[..., int]:
    """Run the tier on Hetzner; return its exit code."""
    need("ssh", "ssh-keygen")
    plant_smoke_request()
    return lambda *words: main(
        ["--results", str(tmp_path / "results.json"), "--cloud", "hetzner", *words]
    )


def machine(account: fake_hetzner.Hetzner, tag: str) -> None:
    """Create a machine with a tag."""
    place = {"server_type": "cpx31", "location": "hel1", "ssh_keys": []}
    account.answer("POST /servers", {}, {"name": tag, "labels": {"strata-lease": tag}, **place})


def tags(account: fake_hetzner.Hetzner) -> set[str]:
    return {each["name"] for each in account.servers.values()}


def expect_nothing_made(account: fake_hetzner.Hetzner, share: Path) -> None:
    assert not [request for request in account.requests if request.startswith("POST")]
    assert not list(share.rglob(leases.FILE))


@pytest.mark.parametrize(
    ("words", "cost"),
    [
        (("--max-usd", "0.02"), "15m of cpx31 in hel1 cost $0.04 ($0.0350 an hour, Hetzner's API,"),
        (("--ttl", "48h"), "48h of cpx31 in hel1 cost $1.68"),
        (("--instance", "ccx63"), "15m of ccx63 in hel1 cost $1.35"),
    ],
    ids=["cap", "time", "machine"],
)
def test_a_quote_above_the_cap_is_refused_before_a_machine_is_created(
    run: Callable[..., int],
    account: fake_hetzner.Hetzner,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, str],
    cost: str,
) -> None:
    assert run(*words) == 3
    told = capsys.readouterr().err
    assert cost in told
    assert "and --max-usd is" in told
    assert "hint: ask for less time or a smaller machine" in told
    expect_nothing_made(account, tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())["tests"]
    assert [row["status"] for row in rows] == ["failed"] + 4 * ["skipped"]


def test_an_unknown_machine_is_refused_before_anything_is_created(
    run: Callable[..., int],
    account: fake_hetzner.Hetzner,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--instance", "cpx13") == 3
    assert "hint: did you mean cpx31?" in capsys.readouterr().err
    expect_nothing_made(account, tmp_path)


def test_a_missing_token_is_reported_before_anything_is_created(
    run: Callable[..., int],
    account: fake_hetzner.Hetzner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HCLOUD_TOKEN")
    assert run() == 2
    assert "HCLOUD_TOKEN is not set" in capsys.readouterr().err
    expect_nothing_made(account, tmp_path)


def test_a_machine_that_accepts_no_ssh_connection_is_given_back(
    hetzner: Hetzner, account: fake_hetzner.Hetzner
) -> None:
    need("ssh", "ssh-keygen")
    lease = new_lease()
    with leases.held(lease):
        with pytest.raises(InfrastructureError, match="accepts no SSH connection"):
            hetzner.launch(lease)
        reaper.end(hetzner, lease.id)
    assert tags(account) == set()


def test_a_machine_that_cannot_be_deleted_keeps_its_lease_until_it_can(
    hetzner: Hetzner, account: fake_hetzner.Hetzner
) -> None:
    lease = new_lease()
    machine(account, lease.id)
    account.refusals = [("DELETE /servers", RefusedError(503, "unavailable"))]
    with pytest.raises(InfrastructureError, match="may still be there, and cost money") as caught:
        list(reaper.reap(hetzner))
    assert f"Hetzner does not delete {lease.id}" in caught.value.message
    assert caught.value.hint == "uv run invoke cloud.reap"
    assert leases.all_of() == [lease]
    assert len(list(reaper.reap(hetzner))) == 1
    assert (tags(account), leases.all_of()) == (set(), [])


def test_a_run_that_cannot_clean_up_reports_it_and_keeps_its_lease(
    run: Callable[..., int],
    account: fake_hetzner.Hetzner,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    account.refusals = [
        ("POST /servers", RefusedError(503, "unavailable")),
        ("DELETE /ssh_keys", RefusedError(503, "unavailable")),
    ]
    assert run() == 2
    told = capsys.readouterr()
    assert "the machine's output cannot be read" in told.out
    rows = json.loads((tmp_path / "results.json").read_text())["tests"]
    assert [row["status"] for row in rows] == ["passed", "failed", "skipped", "skipped", "failed"]
    assert "may still be there, and cost money" in rows[-1]["error"]
    assert json.loads((tmp_path / "cloud.json").read_text())["left"] == "unknown"
    assert [each.id for each in leases.all_of()] == [
        each["name"] for each in account.ssh_keys.values()
    ]


def test_a_folder_without_a_lease_file_is_removed_once_it_has_expired(
    hetzner: Hetzner,
) -> None:
    over, early = (leases.home() / leases.new_id(seconds) for seconds in (-60, 600))
    strange = leases.home() / "strange"
    for each in (over, early, strange):
        each.mkdir(parents=True)
    assert list(reaper.reap(hetzner)) == []
    assert list(leases.home().iterdir()) == [early]


def test_the_machine_and_the_lease_of_a_dead_run_are_removed(
    hetzner: Hetzner, account: fake_hetzner.Hetzner
) -> None:
    lease = new_lease()
    machine(account, lease.id)
    assert list(reaper.reap(hetzner)) == [f"given back: {lease.id} (its run is dead)"]
    assert (tags(account), leases.all_of()) == (set(), [])


@pytest.mark.parametrize(
    ("seconds", "written", "over"),
    [
        (600, 2 * MINUTE, False),
        (-60, 20 * MINUTE, True),
        # The clock was put back, so the machine's age is unknown.
        (int((HOUR + 15 * MINUTE).total_seconds()), -HOUR, True),
        # The clock was corrected by a little, as by NTP.
        (900, -MINUTE, False),
        # The clock was put forward.
        (int(-YEAR.total_seconds()), YEAR, True),
    ],
    ids=["in time", "expired", "clock put back", "clock corrected", "clock put forward"],
)
def test_a_kept_machine_stays_until_its_time_to_live_is_over(
    hetzner: Hetzner,
    account: fake_hetzner.Hetzner,
    seconds: int,
    written: timedelta,
    *,
    over: bool,
) -> None:
    lease = new_lease(seconds, written, keep=True)
    machine(account, lease.id)
    lines = list(reaper.reap(hetzner))
    assert lines == ([f"given back: {lease.id} (its time is over)"] if over else [])
    assert tags(account) == (set() if over else {lease.id})


@pytest.mark.parametrize("moved", [-YEAR, -HOUR, HOUR, YEAR], ids=str)
def test_a_machine_in_use_stays_despite_a_wrong_clock(
    hetzner: Hetzner, account: fake_hetzner.Hetzner, moved: timedelta
) -> None:
    lease = new_lease(int(moved.total_seconds()), moved)
    with leases.held(lease):
        machine(account, lease.id)
        assert list(reaper.reap(hetzner)) == []
        assert tags(account) == {lease.id}
    assert len(list(reaper.reap(hetzner))) == 1


def test_ending_a_run_leaves_the_machine_of_a_concurrent_run(
    hetzner: Hetzner, account: fake_hetzner.Hetzner
) -> None:
    one, other = new_lease(), new_lease()
    assert one.id != other.id
    with leases.held(one), leases.held(other):
        for each in (one, other):
            machine(account, each.id)
        reaper.end(hetzner, one.id)
        one.forget()
        assert list(reaper.reap(hetzner)) == []
        assert tags(account) == {other.id}


def test_a_lease_of_another_provider_is_left_alone(hetzner: Hetzner) -> None:
    lease = new_lease(provider="aws")
    assert list(reaper.reap(hetzner)) == []
    assert (leases.all_of("hetzner"), leases.all_of()) == ([], [lease])


def test_ending_a_machine_waits_until_it_is_no_longer_listed() -> None:
    tag = leases.new_id(600)
    left = [Machine(tag, "one", "ending")]

    class Lingering(Local):
        def terminate(self, tag: str) -> None:
            assert tag

        def list(self) -> Iterator[Machine]:
            while left:
                yield left.pop()

    reaper.end(Lingering("local"), tag)
    assert left == []


def test_a_lease_held_by_a_run_cannot_be_held_by_another(hetzner: Hetzner) -> None:
    lease = new_lease()
    with (
        leases.held(lease),
        pytest.raises(InfrastructureError, match="is another run's"),
        leases.held(lease),
    ):
        pass


UNREADABLE = {
    "no JSON": "half a le",
    "no object": "[]",
    "another version": '{"id": "x", "colour": "blue"}',
    "no UTF-8": b"\xff\xfe",
}


def spoil(lease: Lease, how: str) -> None:
    file = lease.folder / leases.FILE
    if how == "folder":
        file.unlink()
        file.mkdir()
    else:
        text = UNREADABLE[how]
        file.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("how", [*UNREADABLE, "folder"])
def test_an_unreadable_lease_stops_the_run_and_is_kept(
    run: Callable[..., int],
    account: fake_hetzner.Hetzner,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    lease = new_lease()
    machine(account, lease.id)
    account.requests.clear()
    spoil(lease, how)
    assert run() == 2
    told = capsys.readouterr().err
    assert "cannot be read" in told
    assert f"its machine has the tag {lease.id}" in told
    assert "hint: end that machine" in told
    assert not [request for request in account.requests if request.startswith("POST")]
    assert lease.folder.exists()


def test_a_lease_that_cannot_be_written_prevents_a_launch(
    run: Callable[..., int],
    account: fake_hetzner.Hetzner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "a file"
    file.touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(file))
    assert run() == 2
    assert "a lease cannot be written, without which no machine is made" in capsys.readouterr().err
    expect_nothing_made(account, tmp_path)


def test_a_lease_tag_holds_its_expiry_and_other_tags_are_not_ours(hetzner: Hetzner) -> None:
    tag = leases.new_id(900)
    assert leases.is_ours(tag)
    assert not leases.is_over(tag)
    assert abs(leases.expires(tag) - datetime.now(UTC) - timedelta(seconds=900)) < MINUTE
    assert len(tag) <= 63
    for strange in ("production", tag.upper(), f"x{tag}", f"{tag}-1", ""):
        assert not leases.is_ours(strange)
