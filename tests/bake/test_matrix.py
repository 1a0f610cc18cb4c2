"""Bakes for each pair of choices and for names at their limits: static checks, tiers, actions."""

import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import ModuleType

import matrix
import pytest
from baking import PROMPTS, Bake, Bakery
from installed import Environment

answers = pytest.mark.proof(of="answers")

CHECKS = "from stratakit.static.checks import CHECKS; print(*(check.name for check in CHECKS))"
# Too expensive for each bake: it needs a network, and seconds.
DEAR = {"lock"}


@pytest.fixture(params=matrix.ROWS)
def baked(request: pytest.FixtureRequest, bake: Bakery, tmp_path: Path) -> Bake:
    # Not a shared bake: tools leave caches behind.
    return bake.into(tmp_path, matrix.ROWS[request.param])


@answers
def test_a_bake_passes_its_own_static_checks_untouched(
    baked: Bake, environment: Environment
) -> None:
    environment.share_tools(baked)
    names = environment.run(baked, "-c", CHECKS).split()
    only = [f"--only={name}" for name in names if name not in DEAR]
    environment.run(baked, "-m", "stratakit.static", *only)


@pytest.mark.slow
@pytest.mark.parametrize(
    "clouds",
    [
        pytest.param(each, marks=[] if each in {"all", "none"} else answers)
        for each in PROMPTS["clouds"]
    ],
)
def test_a_bake_with_any_choice_of_clouds_passes_its_policies(
    clouds: str, environment: Environment, bake: Bakery, tmp_path: Path
) -> None:
    baked = environment.share_tools(bake.into(tmp_path, clouds=clouds))
    environment.run(baked, "-m", "stratakit.infra", "policies")


@pytest.mark.slow
def test_terraform_actions_report_missing_modules_in_a_bake_without_a_cloud(
    environment: Environment, bake: Bakery
) -> None:
    for action in ("infra.fmt", "infra.test", "infra.plan --cloud aws"):
        done = environment.run(bake(clouds="none"), "-m", "invoke", *action.split(), code=3)
        assert "there is no infra/terraform in this project" in done, action


@answers
def test_a_bake_lists_its_tiers(baked: Bake) -> None:
    listed = json.loads(baked.run("nox", "--list", "--json").stdout)
    names = {entry["session"] for entry in listed}
    service = baked.service
    assert {"static", f"unit({service})", f"integration({service})"} <= names


@answers
def test_a_bake_lists_its_actions(baked: Bake, environment: Environment) -> None:
    listed = json.loads(environment.run(baked, "-m", "invoke", "--list", "--list-format=json"))
    assert {"setup", "graph"} <= {entry["name"] for entry in listed["tasks"]}


@pytest.mark.slow
def test_each_installed_package_is_a_reserved_name(
    environment: Environment, bake: Bakery, hook: Callable[..., ModuleType]
) -> None:
    script = (
        "from importlib.metadata import distributions, packages_distributions as packages\n"
        "print(*packages(), *(each.metadata['Name'].replace('-', '_') for each in distributions()))"
    )
    printed = bake().run(str(environment.python), "-c", script).stdout.lower().split()
    possible = {name for name in printed if re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)}
    module = hook("pre_gen_project")
    assert possible - module.INSTALLED - module.STDLIB - module.OWN == set()


def test_the_matrix_covers_each_pair_of_choices_and_every_name() -> None:
    rows = list(matrix.ROWS.values())
    choices = {key: value for key, value in PROMPTS.items() if isinstance(value, list)}
    for (key, values), (other, others) in combinations(choices.items(), 2):
        met = {(row[key], row[other]) for row in rows}
        assert met == {(value, another) for value in values for another in others}
    # The example has fixed names for its service and resource.
    blank = [row for row in rows if row["starter"] == "blank"]
    names = {(row["project_slug"], row["service"], row["resource"]) for row in blank}
    assert names == set(matrix.NAMES)
    assert {1, 2, 20} <= {len(name) for three in names for name in three}
