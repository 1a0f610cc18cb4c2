"""The clouds of SkyPilot, on a fake of it; `tests/project/test_cloud_sky.py` uses the real one."""

import os
import shutil
import signal
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_skypilot
import psutil
import pytest
import sshd
from fake_skypilot import Account
from . import answering
from .hetzner_account import new_lease

from stratakit import environment, programs
from stratakit.cloud import leases, providers, reaper, sky, sky_program
from stratakit.cloud.leases import Lease
from stratakit.errors import ConfigurationError, InfrastructureError, StrataError
from stratakit.servers.waiting import until

CLOUDS = tuple(sky.ACCOUNTS)
DEFAULTS = {cloud: next(iter(kinds)) for cloud, kinds in fake_skypilot.PRICES.items()}
NEEDS_SSH = pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh here")
NEEDS_SSHD = pytest.mark.skipif(not sshd.PROGRAM, reason=sshd.ABSENT)


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a cloud for which the user has no credentials."""
    name: str = request.param
    for variable, folder in {"HOME": "home", "XDG_CACHE_HOME": "c", "XDG_DATA_HOME": "d"}.items():
        monkeypatch.setenv(variable, str(tmp_path / folder))
    for variable in sky.ACCOUNTS[name].variables:
        monkeypatch.delenv(variable, raising=False)
    return name


@pytest.fixture
def account(cloud: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account in the cloud, with credentials, and a fake SkyPilot in place of the tool."""
    file = Path.home() / sky.ACCOUNTS[cloud].folder / sky.ACCOUNTS[cloud].file
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setenv(fake_skypilot.FILE, str(tmp_path / "account.json"))
    # SkyPilot requires rsync, which is not installed everywhere.
    rsync = tmp_path / "bin" / "rsync"
    rsync.parent.mkdir()
    rsync.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{rsync.parent}{os.pathsep}{os.environ['PATH']}")
    made = Account()
    made.save()
    with faked(cloud):
        yield made


@pytest.fixture
def rented(cloud: str, account: Account) -> sky.Sky:
    """The cloud, as a run uses it."""
    made = providers.provider(cloud)
    assert isinstance(made, sky.Sky)
    return made


@contextmanager
def faked(cloud: str) -> Iterator[None]:
    """Provide the tool's environment with the fake in it."""
    tool = sky.tool(cloud)
    home = environment.ENVIRONMENTS / f"tool-{tool.name}"
    venv.create(home, symlinks=True)
    (packages,) = home.glob("lib/*/site-packages")
    # If coverage measures this run, the environment needs it too.
    coverage = [str(Path(file).parents[1]) for file in measuring()]
    lines = (str(Path(fake_skypilot.__file__).parent), *coverage)
    install = "import fake_skypilot; fake_skypilot.install()"
    (packages / "fake.pth").write_text("\n".join((*lines, install)))
    (home / "requirements.txt").write_text("\n".join((sys.version, *tool.requirements)))
    yield
    shutil.rmtree(home)


def measuring() -> list[str]:
    """Return coverage's file if it measures this process."""
    module = sys.modules.get("coverage")
    return [str(module.__file__)] if module and "COVERAGE_PROCESS_CONFIG" in os.environ else []


def there(cloud: str, tag: str) -> dict[str, str]:
    """Return a machine in the cloud, in a region that offers it."""
    (region, *_) = fake_skypilot.PRICES[cloud][DEFAULTS[cloud]]
    return {"cloud": cloud, "tag": tag, "name": f"n-{tag}", "state": "running", "where": region}


def refused(message: str) -> "pytest.RaisesExc[InfrastructureError]":
    return pytest.raises(InfrastructureError, match=message)


def test_missing_credentials_are_reported_with_a_hint_and_nothing_is_installed(cloud: str) -> None:
    with refused(f"no credentials for {cloud}") as raised:
        sky.Sky(cloud).check()
    assert raised.value.hint == sky.ACCOUNTS[cloud].hint
    assert not (environment.ENVIRONMENTS / f"tool-skypilot-{cloud}").exists()
    file = Path.home() / sky.ACCOUNTS[cloud].folder / sky.ACCOUNTS[cloud].file
    file.parent.mkdir(parents=True)
    file.touch()
    assert sky.Sky(cloud).credentials() == str(file)


@NEEDS_SSH
def test_credentials_are_accepted_or_rejected_with_the_reason(
    cloud: str, rented: sky.Sky, account: Account
) -> None:
    rented.check()
    account.usable = False
    account.save()
    with refused(r"not accept the credentials: Reason \[compute\]: the key has expired") as raised:
        rented.check()
    assert raised.value.hint == sky.ACCOUNTS[cloud].hint


@NEEDS_SSH
@pytest.mark.parametrize("cloud", ["aws"], indirect=True)
def test_a_missing_rsync_is_reported_with_the_command_that_installs_it(
    rented: sky.Sky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "rsync").unlink()
    (tmp_path / "bin" / "ssh").symlink_to(str(shutil.which("ssh")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with refused("no program `rsync`") as raised:
        rented.check()
    assert raised.value.hint == "install it: apt install rsync"


def test_the_price_table_has_each_cloud_and_a_date() -> None:
    prices = tomllib.loads(sky.PRICES.read_text(encoding="utf-8"))
    assert prices.pop("date")
    assert prices.keys() == {*CLOUDS}
    # A quarter of an hour stays far below the usual cap.
    assert all(0 < each["usd_per_hour"] / 4 < 0.1 for each in prices.values())


def test_a_quote_is_for_the_cheapest_region_or_the_given_one(cloud: str, rented: sky.Sky) -> None:
    regions = fake_skypilot.PRICES[cloud][DEFAULTS[cloud]]
    for wanted in ("", *regions):
        quote = rented.quote("", wanted)
        region = wanted or min(regions, key=regions.__getitem__)
        assert (quote.instance, quote.region) == (DEFAULTS[cloud], region)
        assert quote.usd_per_hour == regions[region]


@pytest.mark.parametrize(
    ("cloud", "words", "message", "hint"),
    [
        ("aws", ("r7a.lrge", ""), "aws has no r7a.lrge on spot", "name another: --instance"),
        ("aws", ("", "us-est-1"), "aws has no us-est-1 on spot", "did you mean us-east-1?"),
        ("azure", ("Standard_M1", ""), "azure has no Standard_M1 on spot", "name another"),
    ],
    indirect=["cloud"],
)
def test_an_instance_or_region_without_spot_machines_is_refused(
    rented: sky.Sky, words: tuple[str, str], message: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        rented.quote(*words)
    assert raised.value.message == message
    assert raised.value.hint.startswith(hint)


def test_without_a_catalog_only_the_default_machine_has_a_price(
    cloud: str, rented: sky.Sky, account: Account
) -> None:
    account.error = "no route"
    account.save()
    quote = rented.quote("", "")
    assert quote.instance == DEFAULTS[cloud]
    assert f"since {cloud} does not name its prices: OSError: no route" in quote.source
    with refused("OSError: no route"):
        rented.quote("another", "")


def test_only_machines_with_our_tags_are_listed_and_one_is_terminated(
    cloud: str, rented: sky.Sky, account: Account
) -> None:
    one, other = leases.new_id(600), leases.new_id(600)
    account.machines = [there(cloud, tag) for tag in (one, other, "theirs")]
    account.save()
    assert {each.tag: each.state for each in rented.list()} == dict.fromkeys(
        (one, other), "running"
    )
    rented.terminate(one)
    rented.terminate(one)
    assert [(each.tag, each.name) for each in rented.list()] == [(other, f"n-{other}")]
    if cloud == "azure":
        # The machine's resource group is not named after it.
        assert Account.load().asked["use_external_resource_group"]


@NEEDS_SSHD
@pytest.mark.parametrize("cloud", ["aws"], indirect=True)
def test_a_launched_spot_machine_responds_returns_logs_and_is_terminated(
    cloud: str, rented: sky.Sky, account: Account, tmp_path: Path
) -> None:
    port, lease = programs.free_port(), lease_of(rented)
    answers = (sys.executable, answering.__file__, str(port))
    with sshd.machine(tmp_path / "machine") as machine, subprocess.Popen(answers) as service:
        sshd.stand_in(machine, sshd.noting(f"http://127.0.0.1:{port}"))
        key = tmp_path / "key"
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key), check=True)
        machine.keys.write_text(key.with_suffix(".pub").read_text())
        account.host, account.port, account.user = machine.host, machine.port, machine.user
        account.key = str(key)
        account.save()
        rented.launch(lease)
        assert Account.load().asked == {
            "infra": f"{cloud}/{lease.region}",
            "instance_type": lease.instance,
            "use_spot": True,
            "disk_size": 50,
            "labels": {"strata-lease": lease.id},
            # It terminates itself if nobody gives it back.
            "autostop": {"idle_minutes": 10, "down": True},
        }
        assert (lease.folder / "key").stat().st_mode & 0o077 == 0
        # The second one stands for another run, which knows only the lease.
        for each in (rented, sky.Sky(cloud)):
            assert answered(each, lease).settings == {"TOKEN": "s3cret"}
            assert each.logs(lease) == "up"
            assert each.shell(lease)[0] == "ssh"
            reaper.end(each, lease.id)
        assert list(rented.list()) == []
        service.terminate()


def answered(rented: sky.Sky, lease: Lease) -> providers.Answering:
    found: list[providers.Answering] = []
    until(lambda: found.append(rented.answering(lease)), 60, unless=StrataError)
    return found[0]


def lease_of(rented: sky.Sky, seconds: int = 600) -> Lease:
    quote = rented.quote("", "")
    return new_lease(seconds, provider=rented.name, instance=quote.instance, region=quote.region)


@pytest.mark.parametrize("cloud", ["gcp"], indirect=True)
def test_an_unreachable_zone_is_an_error_and_not_an_empty_list(
    rented: sky.Sky, account: Account
) -> None:
    account.silent = ["zones/us-central1-a"]
    account.save()
    with refused("gcp does not list machines: OSError: zones/us-central1-a"):
        list(rented.list())


@pytest.mark.parametrize("cloud", ["gcp"], indirect=True)
def test_a_machine_whose_launch_timed_out_is_given_back_once_it_exists(
    rented: sky.Sky, account: Account
) -> None:
    account.hangs = True
    account.save()
    lease = lease_of(rented, 2)
    with refused("gcp does not make a machine: there was no answer after 2 s"):
        rented.launch(lease)
    with refused("was not reached so far"):
        rented.logs(lease)
    account = Account.load()
    account.late = 1
    account.save()
    rented.terminate(lease.id)
    assert Account.load().machines == []


@pytest.mark.parametrize("cloud", ["aws"], indirect=True)
def test_a_crashed_launch_is_reported_with_its_last_lines(
    rented: sky.Sky, account: Account
) -> None:
    account.crashes = True
    account.save()
    with refused("aws does not make a machine: W: no disk E: killed"):
        rented.launch(lease_of(rented))


@pytest.mark.parametrize("cloud", ["azure"], indirect=True)
def test_the_skypilot_process_ends_when_its_run_is_killed(
    rented: sky.Sky, account: Account, cloud: str
) -> None:
    account.hangs = True
    account.save()
    lease = lease_of(rented)
    script = (
        "from stratakit.cloud import leases, sky\n"
        f"(lease,) = leases.all_of()\nsky.Sky({cloud!r}).launch(lease)\n"
    )
    with subprocess.Popen((sys.executable, "-c", script)) as run:

        def asked() -> list[psutil.Process]:
            own = psutil.Process(run.pid).children()
            return [each for each in own if str(sky.PROGRAM) in each.cmdline()]

        def launched() -> None:
            assert Account.load().machines

        until(launched, 30)
        (asking,) = asked()
        run.send_signal(signal.SIGKILL)
    asking.wait(30)
    (machine,) = rented.list()
    assert machine.tag == lease.id


@pytest.mark.parametrize("cloud", ["aws"], indirect=True)
def test_skypilot_sees_only_the_credentials_of_its_cloud_from_the_home_folder(
    rented: sky.Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    for _ in range(2):
        seen = rented._environment(Path("programs"))
    assert seen["HOME"] == str(sky.home()) != str(Path.home())
    assert {each.name for each in sky.home().iterdir()} == {".aws", "config.yaml", "nothing"}
    assert (sky.home() / ".aws").readlink() == Path.home() / ".aws"
    # SkyPilot does not accept a device such as /dev/null as a file.
    assert Path(seen["AWS_CONFIG_FILE"]).read_text() == ""


def test_the_reason_is_extracted_from_the_output_of_skypilot() -> None:
    said = (
        '<sky-payload>"x"</sky-payload>\n\x1b[2m  AWS: disabled \x1b[0m\n'
        "    Reason [compute]:  Failed to get AWS user.\n\nTo enable a cloud, follow the hints\n"
    )
    assert sky._reasons(said) == "Reason [compute]: Failed to get AWS user."
    assert sky._reasons("one\ntwo\n\nthree\nfour\n") == "two three four"


def test_the_engine_and_the_skypilot_program_use_the_same_label() -> None:
    # The program in SkyPilot's environment cannot import our other modules.
    assert sky_program.LABEL == providers.LABEL == fake_skypilot.LABEL
