"""Properties of every bake: rendered, complete, portable, and reproducible from its answers."""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from baking import BLANK, INFERENCE, PROMPTS, ROOT, Bake, Bakery, is_rendered
from matrix import HOSTILE, ROWS

CASES = {
    "defaults": {},
    "inference": INFERENCE,
    "no ci": {"ci": "none"},
    "one cloud": {"clouds": "hetzner"},
    "no cloud": {"clouds": "none"},
    "hostile texts": {"project_name": HOSTILE, "author": HOSTILE, "project_slug": "acme"},
    "one name for all": {"project_slug": "acme", "service": "acme", "resource": "acme"},
}

# Words of the example's domain and of its extra dependencies. (Exceptions: xdist's `node.gateway`,
# AWS's internet gateways, GATEWAY_PORT of a local AWS, and `completions: ` of Kubernetes jobs.)
EXAMPLES_WORDS = re.compile(
    rb"(?i)(?<!node\.)(?<!internet_)gateway(?!_id|_port)|openai|argon2|jwt|hiredis|prometheus"
    rb"|schemathesis|llama|gguf|completion[s_/](?!: )"
)

# Words that mention a cloud. (pydocstyle has a convention called google.)
CLOUDS_WORDS = {
    "aws": r"aws|amazon|s3(?!\d)|ec2|boto|ministack",
    "gcp": r"gcp|gcs|(?<!convention = \")google|gcloud",
    "hetzner": r"hetzner|hcloud",
}

PARSERS: dict[str, Callable[[str], object]] = {
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".json": json.loads,
    # Kubernetes manifests have several documents per file.
    ".yaml": lambda text: [*yaml.safe_load_all(text)],
    ".yml": yaml.safe_load,
}


@pytest.fixture(params=CASES)
def baked(request: pytest.FixtureRequest, bake: Bakery) -> Bake:
    return bake(CASES[request.param])


@pytest.fixture(params=ROWS)
def any_bake(request: pytest.FixtureRequest, bake: Bakery) -> Bake:
    return bake(ROWS[request.param])


def test_no_jinja_is_left_in_any_file_or_name(any_bake: Bake) -> None:
    jinja = re.compile(rb"cookiecutter\.|\{\{(?!\})|\{%|\{#")
    contents = any_bake.contents()
    example = {"example": any_bake.service} if any_bake.answers["starter"] == "inference" else {}
    rendered = {name: content for name, content in contents.items() if is_rendered(name, **example)}
    assert [name for name in rendered if jinja.search(name.encode())] == []
    assert [name for name, content in rendered.items() if jinja.search(content)] == []
    # Files copied verbatim may contain braces, but not those of cookiecutter.
    ours = re.compile(rb"\{\{\s*cookiecutter")
    assert [name for name, content in contents.items() if ours.search(content)] == []


def test_every_python_toml_json_and_yaml_file_parses(any_bake: Bake) -> None:
    for file in any_bake.files():
        if parse := PARSERS.get(file.suffix):
            parse(file.read_text(encoding="utf-8"))


def test_every_file_has_unix_line_ends_and_a_final_newline(baked: Bake) -> None:
    contents = baked.contents()
    assert [name for name, content in contents.items() if b"\r" in content] == []
    assert [name for name, content in contents.items() if content and content[-1:] != b"\n"] == []


def test_no_folder_is_empty(baked: Bake) -> None:
    folders = [path for path in baked.path.rglob("*") if path.is_dir()]
    assert [folder for folder in folders if not any(folder.iterdir())] == []


def test_no_file_contains_a_path_of_the_baking_machine(baked: Bake, bake: Bakery) -> None:
    paths = [str(path).encode() for path in (baked.path.parent, bake.template, ROOT, sys.prefix)]
    for name, content in baked.contents().items():
        assert not any(path in content for path in paths), name


def test_the_same_answers_bake_the_same_bytes(baked: Bake, bake: Bakery, tmp_path: Path) -> None:
    assert bake.into(tmp_path, baked.answers).contents() == baked.contents()


@pytest.mark.parametrize("answers", [BLANK, INFERENCE], ids=PROMPTS["starter"])
def test_a_project_has_only_the_service_of_its_starter(
    answers: dict[str, str], bake: Bakery
) -> None:
    baked = bake(answers, service="billing")
    services = [folder.name for folder in (baked.path / "services").iterdir()]
    assert services == ["billing" if answers == BLANK else "gateway"] == [baked.service]


def test_a_blank_project_does_not_mention_the_example(bake: Bakery) -> None:
    for name, content in bake(service="billing").contents().items():
        assert not (found := EXAMPLES_WORDS.search(content)), f"{name}: {found}"


@pytest.mark.parametrize("starter", PROMPTS["starter"])
@pytest.mark.parametrize("clouds", PROMPTS["clouds"])
def test_a_project_does_not_mention_clouds_that_were_not_chosen(
    clouds: str, starter: str, bake: Bakery
) -> None:
    others = [words for cloud, words in CLOUDS_WORDS.items() if clouds not in {cloud, "all"}]
    word = re.compile(rf"(?i)(?<![a-z])({'|'.join(others) or '(?!)'})".encode())
    contents = bake(clouds=clouds, starter=starter).contents()
    for name, content in contents.items():
        # The engine is byte-identical in every project, so it names all clouds.
        found = word.search(name.encode() + b"\n" + content)
        assert not found or name.startswith("vendor/"), f"{name}: {found}"
    assert (clouds == "none") != any(name.startswith("infra/terraform/") for name in contents)
    assert "infra/policies/compose.rego" in contents


@pytest.mark.parametrize("cloud", CLOUDS_WORDS)
def test_a_cloud_chosen_alone_has_the_same_files_as_among_other_clouds(
    cloud: str, bake: Bakery
) -> None:
    alone = bake(clouds=cloud).contents()
    theirs = {name: content for name, content in bake().contents().items() if f"/{cloud}/" in name}
    assert theirs.items() <= alone.items()
    assert {name.split("/")[1] for name in theirs} == {"policies", "terraform"}


def test_hooks_remove_only_paths_that_the_manifest_lists_and_change_no_other_file(
    baked: Bake, bake: Bakery, hook: Callable[..., ModuleType]
) -> None:
    with_hooks = baked.contents()
    # The hooks write it; without it, `static` reports the check as absent.
    assert with_hooks.pop("vendor/stratakit/manifest.sha256")
    without = bake(baked.answers, hooks=False).contents()
    assert {name: without[name] for name in with_hooks} == with_hooks
    module = hook("post_gen_project", **baked.answers)
    pruned = [
        path
        for (key, value), paths in module.PRUNED.items()
        if module.ANSWERS[key] == value
        for path in paths
    ]
    gone = without.keys() - with_hooks.keys()
    assert [name for name in gone if not name.startswith(tuple(pruned))] == []
    # The unused starter is rendered into .nox, which tools ignore.
    assert ".nox" in {name.split("/")[0] for name in gone}


def test_free_texts_appear_verbatim_in_every_file_that_uses_them(bake: Bakery) -> None:
    plain = bake(project_name="PLAINNAME", author="PLAINAUTHOR", project_slug="acme").contents()
    hostile = bake(CASES["hostile texts"]).path
    places = [name for name, content in plain.items() if re.search(rb"PLAIN(NAME|AUTHOR)", content)]
    assert "LICENSE" in places
    for name in places:
        text = (hostile / name).read_text(encoding="utf-8")
        parse = PARSERS.get(Path(name).suffix)
        # In a file with a syntax, the parsed value must be verbatim, not its escaped form.
        assert HOSTILE in (_strings(parse(text)) if parse else text), name


def _strings(parsed: object) -> str:
    """Return all strings of a parsed file, joined."""
    if isinstance(parsed, dict):
        return "\n".join(_strings(value) for value in parsed.values())
    if isinstance(parsed, list):
        return "\n".join(_strings(value) for value in parsed)
    return str(parsed)


@pytest.mark.parametrize("name", PROMPTS["license"])
@pytest.mark.parametrize("hooks", [True, False], ids=["hooks", "no hooks"])
def test_the_licence_is_the_chosen_one_and_names_the_author(
    bake: Bakery, name: str, hooks: bool
) -> None:
    first_words = {
        "MIT": "MIT License",
        "Apache-2.0": "Apache License",
        "BSD-3-Clause": "BSD 3-Clause License",
        "Proprietary": "Copyright (c) Ann. All rights reserved.",
    }
    text = (bake(hooks=hooks, license=name, author="Ann").path / "LICENSE").read_text()
    assert text.lstrip().startswith(first_words[name])
    assert re.search(r"^ *Copyright.* Ann\b", text, re.MULTILINE)


@pytest.mark.parametrize("starter", PROMPTS["starter"])
def test_the_chosen_python_is_that_of_images_ci_and_devcontainer(
    starter: str, bake: Bakery
) -> None:
    baked = bake(python="3.12", starter=starter)
    settings = tomllib.loads((baked.path / "pyproject.toml").read_text())
    assert settings["tool"]["stratakit"]["python"] == "3.12"
    image = (baked.path / "services" / baked.service / "Dockerfile").read_text()
    assert "\nARG PYTHON=3.12\n" in image
    assert set(re.findall(r"^FROM python:(\S+)", image, re.MULTILINE)) == {"${PYTHON}-slim"}
    container = (baked.path / ".devcontainer" / "devcontainer.json").read_text()
    assert '/python:3.12"' in container
    # `invoke ci.matrix` prints the one of pyproject.toml, which the jobs of tests use.
    for name in ("test", "nightly"):
        workflow = (baked.path / ".github" / "workflows" / f"{name}.yml").read_text()
        jobs = yaml.safe_load(workflow)["jobs"]
        assert jobs["plan"]["outputs"]["python"] == "${{ steps.matrix.outputs.python }}"
        used = re.findall(r"UV_PYTHON: (.*)", workflow)
        assert set(used) == {"${{ needs.plan.outputs.python }}"}


def test_a_long_project_name_gives_a_shortened_slug(bake: Bakery) -> None:
    assert bake(project_name="The Wonderful Shop of Acme").path.name == "the-wonderful-shop"


def test_every_choice_that_a_prompt_explains_exists(template: Path) -> None:
    prompts = json.loads((template / "cookiecutter.json").read_text())["__prompts__"]
    assert prompts.keys() == PROMPTS.keys()
    for key, labels in prompts.items():
        if isinstance(labels, dict):
            assert labels.keys() - {"__prompt__"} <= set(PROMPTS[key]), key


def test_each_place_that_the_infrastructure_proof_breaks_is_in_a_bake(bake: Bakery) -> None:
    table = ROOT / "tests" / "project" / "broken_infrastructure.yaml"
    whole = bake(clouds="all", service="gateway").path
    for check, rows in yaml.safe_load(table.read_text(encoding="utf-8")).items():
        for name, row in rows.items():
            text = (whole / row["file"]).read_text(encoding="utf-8")
            assert row.get("place", "") in text, f"{check}, {name}"
