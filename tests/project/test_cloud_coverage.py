"""Coverage gate for each module of the tier cloud, where mistakes cost money."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sshd
from baking import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.proof(of="cloud"),
    pytest.mark.timeout(1200),
    # Without sshd, too many of the measured tests are skipped.
    pytest.mark.skipif(not sshd.PROGRAM, reason=sshd.ABSENT),
]
WANTED = 95
"""Required percentage of lines, and of branches, in each module."""
MODULES = {
    file.name
    for file in ROOT.glob("{{*}}/vendor/stratakit/src/stratakit/cloud/*.py")
    if file.read_bytes().strip()
}
# Tests of kills are excluded: killed processes write no coverage data, and there are many.
TESTS = sorted(
    {*ROOT.glob("tests/engine/test_cloud*.py")} - {*ROOT.glob("tests/engine/*_kills.py")}
)
NOX = (sys.executable, "-m", "nox", "-s", "engine", "--")
SETTINGS = """
[run]
branch = true
include = */stratakit/cloud/*
# Measure subprocesses, too: forked, signalled, in copies of the project, and on machines.
parallel = true
patch = subprocess, _exit, fork
sigterm = true
data_file = {folder}/data

[paths]
cloud =
    vendor/stratakit/src/stratakit/cloud
    */stratakit/cloud
"""


def test_the_tests_of_the_engine_cover_each_cloud_module_by_95_percent(tmp_path: Path) -> None:
    settings, report = tmp_path / "coverage.ini", tmp_path / "coverage.json"
    settings.write_text(SETTINGS.format(folder=tmp_path), encoding="utf-8")
    words = ("--cov", f"--cov-config={settings}", f"--cov-report=json:{report}")
    done = subprocess.run(
        (*NOX, *(str(file.relative_to(ROOT)) for file in TESTS), *words),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    found = {Path(name).name: of["summary"] for name, of in files.items()}
    assert found.keys() >= MODULES
    short = {
        f"{name}: {what}": f"{of[f'covered_{what}']} of {of[f'num_{all_of}']}"
        for name, of in found.items()
        for what, all_of in (("lines", "statements"), ("branches", "branches"))
        if 100 * of[f"covered_{what}"] < WANTED * of[f"num_{all_of}"]
    }
    assert short == {}, {name: of["missing_lines"] for name, of in files.items()}
