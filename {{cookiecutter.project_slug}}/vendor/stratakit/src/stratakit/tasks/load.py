"""`invoke load.*`: load tests with requests from several machines."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from string import Template

from invoke.collection import Collection
from invoke.context import Context

from .. import environment, project
from ..errors import Code, ConfigurationError, InfrastructureError
from ..load import PATIENCE, SCENARIO
from ..pyproject import REPORTS, ROOT
from . import console
from .executor import fail, task

PORT = 5557
"""Port of the master: Locust's own default."""
FIRST, NEXT = 300, 30
"""Seconds that a worker tries to reach its master, before the first phase and after one."""
RESOURCES = {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
SECURITY = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
OPTIONS = "options of nox -s load, in one word: '-u 100 -r 10 -t 60s'"
WORKERS = "how many workers there will be"
HOST = "address of the service to test, this machine's or one that pyproject.toml allows"


@task(
    positional=["service"],
    help={"service": "service", "host": HOST, "workers": WORKERS, "options": OPTIONS},
)
def master(_: Context, service: str, host: str, workers: int = 2, options: str = "") -> None:
    """Run the load test of a service on workers, and check their results."""
    home = _home(service)
    left = REPORTS / "load" / service / "results.json"
    done = subprocess.run(
        (
            *(sys.executable, "-m", "stratakit.load"),
            *("--home", home.relative_to(ROOT).as_posix(), "--results", str(left)),
            *("--host", host, "--master", "--expect-workers", str(_count(workers))),
            *words(options),
        ),
        cwd=ROOT,
        env={**os.environ, **environment.no_proxy()},
        check=False,
    )
    left.unlink(missing_ok=True)
    if done.returncode:
        fail(f"the load test of {service} ended with {done.returncode}", code(done.returncode))


@task(
    positional=["service"],
    help={"service": "service", "master": "host of load.master", "port": "its port"},
)
def worker(_: Context, service: str, master: str, port: int = PORT) -> None:
    """Make requests for a master, phase after phase, until it ends."""
    command = (
        *(sys.executable, "-m", "stratakit.load.generator", "--worker"),
        *("--locustfile", str(_home(service) / SCENARIO), "--exit-code-on-error", "0"),
        *("--master-host", master, "--master-port", str(port)),
    )
    phases = 0
    while True:
        patience = str(NEXT if phases else FIRST)
        env = {**os.environ, **environment.no_proxy(), PATIENCE: patience}
        # Its standard input ends with us, which stops it and its process group.
        with subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, start_new_session=True
        ) as process:
            ended = process.wait()
        if ended:
            break
        phases += 1
    if not phases:
        raise InfrastructureError(
            f"no master at {master}:{port} gave this worker any work (exit code {ended})",
            f"start it: uv run invoke load.master {service} --host URL",
        )
    console.say(f"{phases} phases; the master has gone")


@task(
    positional=["service"],
    help={
        "service": "service",
        "image": "image with the project and its environment, in its working directory",
        "host": HOST,
        "workers": WORKERS,
        "options": OPTIONS,
    },
)
def manifest(
    _: Context, service: str, image: str, host: str, workers: int = 2, options: str = ""
) -> None:
    """Print the Kubernetes manifest of a master and its workers."""
    _home(service)
    text = Path(__file__).parents[1].joinpath("load", "kubernetes.yaml").read_text(encoding="utf-8")
    # Quoted as JSON, which is valid YAML for any text.
    quoted = {"image": image, "host": host, "options": options}
    values = {name: json.dumps(value) for name, value in quoted.items()}
    sets = {"resources": json.dumps(RESOURCES), "security": json.dumps(SECURITY)}
    console.say(
        Template(text).substitute(
            name=service.replace("_", "-"),
            service=service,
            workers=_count(workers),
            **values,
            **sets,
        )
    )


def words(options: str) -> list[str]:
    """Return the arguments in `--options`.

    Raises:
        ConfigurationError: a quotation mark is not closed.
    """
    try:
        return shlex.split(options)
    except ValueError as error:
        raise ConfigurationError(
            f"--options {options!r} cannot be read: {error}", "--options '-u 100 -r 10 -t 60s'"
        ) from error


def code(status: int) -> Code:
    """Return the exit code for the status of a load test: FAILED if a signal ended it."""
    return Code(status) if status in {*Code} else Code.FAILED


def _home(name: str) -> Path:
    """Return the folder of a service that has a load test.

    Raises:
        ConfigurationError: there is no such service, or it has no load test.
    """
    home = project.service(name).path
    if not (home / SCENARIO).is_file():
        raise ConfigurationError(
            f"{name} has no load test: services/{name}/{SCENARIO.as_posix()}",
            "write one, an ordinary locustfile",
        )
    return home


def _count(workers: int) -> int:
    if workers < 1:
        raise ConfigurationError(f"--workers {workers} is not a number of workers", "--workers 2")
    return workers


load = Collection("load", master, worker, manifest)
