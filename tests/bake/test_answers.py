"""Bad answers: one clear message each, a non-zero exit, and nothing left on disk."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from answers import BAD, GOOD
from baking import PROMPTS, SETTINGS, Bakery
from cookiecutter.exceptions import FailedHookException, OutputDirExistsException

CASES = [
    pytest.param(key, answer, id=f"{key} is {what}")
    for key, answers in BAD.items()
    for what, answer in answers.items()
]


@pytest.mark.parametrize(("key", "answer"), CASES)
def test_a_bad_answer_is_refused_with_one_message_and_leaves_no_file(
    key: str, answer: str, bake: Bakery, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "sandbox" / "output"
    output.mkdir(parents=True)
    with pytest.raises(FailedHookException):
        bake.into(output, {key: answer.replace("SANDBOX", str(output.parent))})
    messages = re.findall(
        r"^(\w+): .+ cannot be used, because .+\.\n  A good one: \1=\".+\"$",
        capfd.readouterr().err,
        re.MULTILINE,
    )
    assert messages == [key]
    assert list(output.parent.rglob("*")) == [output]


@pytest.mark.parametrize(
    ("key", "answer"), [("license", "GPL"), ("clouds", "azure"), ("clouds", ""), ("clouds", "AWS")]
)
def test_an_unknown_choice_is_refused_and_leaves_no_file(
    key: str, answer: str, bake: Bakery, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=key):
        bake.into(tmp_path, {key: answer})
    assert list(tmp_path.iterdir()) == []


def test_each_of_several_bad_answers_is_reported(hook: Callable[..., ModuleType]) -> None:
    answers = {"service": "json", "resource": "none", "author": ""}
    module = hook("pre_gen_project", **answers)
    assert list(module.problems(module.ANSWERS)) == list(answers)


def test_a_bad_slug_derived_from_a_valid_project_name_is_reported_as_the_slug(
    hook: Callable[..., ModuleType],
) -> None:
    module = hook("pre_gen_project", project_name="!!!")
    assert list(module.problems(module.ANSWERS)) == ["project_slug"]


NEAR = {
    ("service", "My Shop"): "my-shop",
    ("service", "-shop-"): "shop",
    ("service", "../evil"): "evil",
    ("service", "a" * 21): "a" * 20,
    ("service", "json"): "billing",
    ("service", "größe"): "billing",
    ("resource", "Line-Item"): "line_item",
    ("resource", "none"): "line_item",
    ("project_slug", "my_shop"): "my-shop",
    ("project_name", "Ann\nBob"): "Ann Bob",
    ("author", " Ann "): "Ann",
    ("author", "{{ 1 }}"): "The Acme team",
}


@pytest.mark.parametrize(("key", "answer"), NEAR)
def test_a_refusal_suggests_a_good_answer_close_to_the_bad_one(
    key: str, answer: str, hook: Callable[..., ModuleType]
) -> None:
    module = hook("pre_gen_project")
    answers = {**module.ANSWERS, "__slug_answer": module.ANSWERS["project_slug"], key: answer}
    if key == "project_slug":
        answers["__slug_answer"] = answer
    (message,) = module.problems(answers).values()
    assert message.endswith(f'  A good one: {key}="{NEAR[key, answer]}"')


@pytest.mark.parametrize("key", sorted(BAD))
def test_each_answer_that_a_refusal_suggests_is_accepted(
    key: str, hook: Callable[..., ModuleType]
) -> None:
    module = hook("pre_gen_project")
    for answer in BAD[key].values():
        answers = {**module.ANSWERS, key: answer}
        assert module.because(key, {**answers, key: module.corrected(key, answers)}) == ""


def test_the_prompts_state_the_rules(hook: Callable[..., ModuleType]) -> None:
    module = hook("pre_gen_project")
    for key in module.EXAMPLES:
        question = SETTINGS["__prompts__"][key]
        if key in module.NAMES:
            case = "snake_case" if key == "resource" else "kebab-case"
            for rule in (case, "a-z and 0-9", "a letter first", f"at most {module.LONGEST}"):
                assert rule in question
            assert "not a Python keyword, nor a standard-library or installed module" in question
        else:
            assert "one line of free text" in question.lower()


def test_a_refused_bake_over_an_existing_folder_keeps_its_files(
    bake: Bakery, tmp_path: Path
) -> None:
    mine = tmp_path / "shop" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(FailedHookException):
        bake.into(tmp_path, overwrite=True, project_slug="shop", service="json")
    assert [mine.parent, mine] == list(tmp_path.rglob("*"))


def test_a_bake_into_an_existing_folder_is_refused_and_keeps_its_files(
    bake: Bakery, tmp_path: Path
) -> None:
    mine = tmp_path / "shop" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(OutputDirExistsException):
        bake.into(tmp_path, project_slug="shop")
    assert [mine.parent, mine] == list(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("key", "answer"), [(key, answer) for key, answers in GOOD.items() for answer in answers]
)
def test_a_good_answer_is_accepted(key: str, answer: str, hook: Callable[..., ModuleType]) -> None:
    module = hook("pre_gen_project", **({"project_slug": "acme"} | {key: answer}))
    assert module.problems(module.ANSWERS) == {}


def test_the_example_answers_in_messages_are_accepted(hook: Callable[..., ModuleType]) -> None:
    examples = hook("pre_gen_project").EXAMPLES
    assert examples.keys() == {key for key, value in PROMPTS.items() if isinstance(value, str)}
    module = hook("pre_gen_project", **examples)
    assert module.problems(module.ANSWERS) == {}


def test_each_folder_and_module_of_the_project_is_a_reserved_name(
    bake: Bakery, hook: Callable[..., ModuleType]
) -> None:
    project = bake(hooks=False, service="zzservice").path
    patterns = ("*", "libs/*", "services/*/*", "*/src/*", "libs/*/src/*")
    found = [path for pattern in patterns for path in project.glob(pattern)]
    names = {path.stem for path in found if path.is_dir() or path.suffix == ".py"}
    assert {name for name in names if name.isidentifier()} - {"zzservice"} <= hook(
        "pre_gen_project"
    ).OWN


@pytest.mark.parametrize("starter", PROMPTS["starter"])
def test_each_dependency_and_imported_module_is_a_reserved_name(
    starter: str, bake: Bakery, hook: Callable[..., ModuleType]
) -> None:
    project = bake(project_slug="zzslug", service="zzservice", starter=starter).path
    needed = set()
    for file in project.rglob("pyproject.toml"):
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
        groups = settings.get("dependency-groups", {}).values()
        for requirement in sum(groups, settings.get("project", {}).get("dependencies", [])):
            if isinstance(requirement, str):
                name = re.match(r"[\w.-]+", requirement)
                assert name
                needed.add(re.sub(r"[-_.]+", "_", name[0]).lower())
    imported = {
        name.partition(".")[0]
        for file in project.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in _imported(node)
    }
    # No answer can begin with an underscore; modules that exist only for type checkers do.
    names = {name for name in needed | imported if not name.startswith("_")}
    module = hook("pre_gen_project")
    known = module.INSTALLED | module.STDLIB | module.OWN | {"zzservice", "gateway"}
    assert names - known == set()


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module


def test_no_accepted_resource_collides_with_another_name_in_the_code_of_a_service(
    bake: Bakery, hook: Callable[..., ModuleType]
) -> None:
    collisions = []
    services = bake(service="zzservice", resource="zz_thing").path / "services"
    for file in services.rglob("*.py"):
        names = set(_names(ast.parse(file.read_text(encoding="utf-8"))))
        assert "zzservice" not in names, f"{file} binds the name of its own package"
        for resource in _resources_that_collide(names):
            module = hook("pre_gen_project", resource=resource)
            if not list(module.problems(module.ANSWERS)):
                collisions.append((file.name, resource))
    assert collisions == [], "rename it in the service, or refuse it in the hook"


def _resources_that_collide(names: set[str]) -> Iterator[str]:
    """Yield the resources that turn a name made of `zz_thing` into another of `names`."""
    made = {name for name in names if re.search("zz_thing|ZzThing", name)}
    for name in made:
        before, form, after = re.split("(zz_things?|ZzThing)", name, maxsplit=1)
        for other in names - made:
            if found := re.fullmatch(f"{before}(.+){'s' * form.endswith('s')}{after}", other):
                resource = re.sub(r"(?<=.)(?=[A-Z])", "_", found[1]).lower()
                is_class = form == "ZzThing"
                if found[1] == (_camel(resource) if is_class else resource):
                    yield resource


def _camel(resource: str) -> str:
    return "".join(word.capitalize() for word in resource.split("_"))


def _names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module binds or reads, except fields, which cannot collide."""
    fields = {
        id(statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign | ast.Assign)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) if id(node) not in fields:
                yield name
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.AsyncFunctionDef(name=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]
