"""Costs of the worked example, compared with a no-op application and LiteLLM's proxy.

A project is baked into a temporary folder, and `inside/gateway/` runs there, on embedded servers. A
request to the gateway is authenticated, finds its model by an alias, and is counted against a
quota in Redis; a paid one is also charged in PostgreSQL. The proxy has one model with a mocked
response, one key, and no database. Each is one process, on the Python of the project's images. Prints
tables with the targets beside the figures; slowness never fails.

    nox -s "bench(gateway)" -- --rounds 25
"""

import argparse
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from first_run import TEMPLATE, environment, run

INSIDE = Path(__file__).parent / "inside" / "gateway"
MOST = 3.0
"""Maximum CPU time of a completion, as a multiple of the no-op application's."""
LEAST = 1 / 3
"""Minimum requests per second, as a fraction of the no-op application's."""
QUICKER = 20.0
"""Minimum requests per second, as a multiple of the proxy's."""


def main() -> None:
    """Measure, print, and write the requested files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    # Short turns: the machine's speed may change within seconds.
    parser.add_argument("--rounds", type=int, default=25, help="turns of each server")
    parser.add_argument("--requests", type=int, default=640, help="in each turn")
    parser.add_argument("--json", type=Path, help="write the samples to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), options.rounds, options.requests)
    show(measured)
    if options.json:
        options.json.write_text(json.dumps(measured) + "\n", encoding="utf-8")


def measure(folder: Path, rounds: int, requests: int) -> dict[str, Any]:
    """Return the samples that `inside/gateway/measure.py` takes in a fresh project."""
    # Unique: the server's folder has the same name, and is removed afterwards.
    name = f"bench-{secrets.token_hex(4)}"
    bake = (sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", "--default-config")
    answers = (f"project_name={name}", "starter=inference")
    run(*bake, "--output-dir", str(folder), *answers, cwd=folder)
    project = folder / name
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    # The Python of the images: an older one, which may be first on PATH, takes a tenth more.
    python = ("--python", settings["tool"]["stratakit"]["python"])
    run("uv", "sync", "--quiet", "--all-packages", "--all-groups", *python, cwd=project)
    here = shutil.copytree(INSIDE, project / "bench")
    file = folder / "samples.json"
    done = subprocess.run(
        [
            *(str(project / ".venv" / "bin" / "python"), str(here / "measure.py"), str(file)),
            *("--rounds", str(rounds), "--requests", str(requests)),
        ],
        cwd=project,
        env=environment(),
        check=False,
    )
    if done.returncode:
        sys.exit("the measurement has failed; the reason is above")
    measured: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return measured


def show(measured: dict[str, Any]) -> None:
    """Print the tables: medians, and the medians of the ratios of each round."""
    print(f"\n{'a request':20}{'of':10}{'CPU us':>10}{'a second':>12}{'MiB':>8}", end="")
    print(f"{'CPU':>12}{'a second':>12}")
    for what, samples in measured["requests"].items():
        for name, own in samples.items():
            print(f"{what:20}{name:10}", end="")
            for unit, width in (("microseconds", 10), ("a second", 12), ("MiB", 8)):
                print(f"{statistics.median(each[unit] for each in own):{width}.0f}", end="")
            for unit in ("microseconds", "a second"):
                pairs = zip(samples["gateway"], own, strict=True)
                ratio = statistics.median(ours[unit] / theirs[unit] for ours, theirs in pairs)
                print("" if name == "gateway" else f"{f'x {ratio:.2f}':>12}", end="")
            print()
    print("The last two columns: the gateway's CPU and throughput as multiples of this server's.")
    print(f"Targets, whole: <= {MOST:g} and >= {LEAST:.2f} of bare, >= {QUICKER:g} of litellm.")
    print(f"\n{'an operation':20}{'ms':>10}{'CPU us':>10}{'a second':>12}{'x a round trip':>16}")
    trip = statistics.median(seconds for seconds, _ in measured["operations"]["a round trip"])
    for name, samples in measured["operations"].items():
        seconds, cpu = (statistics.median(column) for column in zip(*samples, strict=True))
        print(
            f"{name:20}{seconds * 1e3:10.2f}{cpu * 1e6:10.0f}{1 / seconds:12.0f}"
            f"{seconds / trip:16.1f}"
        )


if __name__ == "__main__":
    main()
