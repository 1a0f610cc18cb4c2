"""Bad answers: one clear message each, a non-zero exit, and nothing left on disk."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from baking import PROMPTS, Bakery
from cookiecutter.exceptions import FailedHookException, OutputDirExistsException

EMPTY = {"empty": "", "blank": "   ", "a tab": "\t"}

# By what is wrong with it; `SANDBOX` stands for a folder that the test may write to.
BAD_NAMES = EMPTY | {
    "not ASCII": "größe",
    "Cyrillic look-alike": "g\N{CYRILLIC SMALL LETTER A}teway",
    "upper case": "Gateway",
    "a leading digit": "3d",
    "only digits": "123",
    "a leading dash": "-shop",
    "a trailing dash": "shop-",
    "a trailing underscore": "shop_",
    "two dashes": "a--b",
    "an underscore and a dash": "a_-b",
    "a space": "my shop",
    "a dot": "my.shop",
    "a separator": "a/b",
    "a Windows separator": "a\\b",
    "a parent": "..",
    "a parent and a name": "../evil",
    "the current folder": ".",
    "a full path": "SANDBOX/evil",
    "a home": "~",
    "a drive": "c:",
    "double quotes": 'a"b',
    "three double quotes": '"""',
    "single quotes": "a'b",
    "a line break": "a\nb",
    "a trailing line break": "shop\n",
    "a carriage return": "a\rb",
    "braces": "{x}",
    "Jinja that makes a bad name": "{{ 7 * 7 }}",
    "Jinja in braces": "{{ '{{ x }}' }}",
    "a shell command": "$(id)",
    "a keyword": "class",
    "another keyword": "import",
    "the standard library": "json",
    "the standard library of a later Python": "compression",
    "the standard library of an earlier Python": "imp",
    "a folder of the project": "vendor",
    "another folder of the project": "tests",
    "a module of the project": "tasks",
    "a device": "con",
    "a numbered device": "lpt1",
    "21 characters": "a" * 21,
    "300 characters": "a" * 300,
}

BAD_TEXTS = EMPTY | {
    "a line break": "Ann\nBob",
    "a carriage return": "Ann\rBob",
    "a tab": "Ann\tBob",
    "an escape": "Ann\x1b[31mBob",
    "a NUL": "Ann\0Bob",
    "a line separator": "Ann\u2028Bob",
    "a lone surrogate": "Ann\udcffBob",
    "letters that run backwards": "Ann\u202eBob",
    "a leading blank": " Ann",
    "a trailing blank": "Ann ",
    "Jinja, once rendered": "{{ '{{ x }}' }}",
    "a Jinja block, once rendered": "{{ '{% x %}' }}",
    "a Jinja comment, once rendered": "{{ '{# x #}' }}",
}
BAD = {
    "project_name": BAD_TEXTS,
    "author": BAD_TEXTS,
    "project_slug": BAD_NAMES | {"snake case": "my_shop"},
    "service": BAD_NAMES
    | {
        "snake case": "my_shop",
        "a package that it imports": "fastapi",
        "a package that it imports, in kebab-case": "pydantic-settings",
        "a package of a package": "starlette",
    },
    "resource": BAD_NAMES
    | {
        "kebab case": "line-item",
        "the class of a builtin": "value_error",
        "the class of a keyword": "none",
    },
}

CASES = [
    pytest.param(key, answer, id=f"{key} is {what}")
    for key, answers in BAD.items()
    for what, answer in answers.items()
]


@pytest.mark.parametrize(("key", "answer"), CASES)
def test_a_bad_answer_is_refused_with_one_message_and_leaves_nothing(
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
def test_a_choice_that_does_not_exist_leaves_nothing(
    key: str, answer: str, bake: Bakery, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=key):
        bake.into(tmp_path, {key: answer})
    assert list(tmp_path.iterdir()) == []


def test_every_bad_answer_has_its_message(hook: Callable[..., ModuleType]) -> None:
    answers = {"service": "json", "resource": "none", "author": ""}
    module = hook("pre_gen_project", **answers)
    assert [message.split(":")[0] for message in module.problems(module.ANSWERS)] == list(answers)


def test_a_slug_that_comes_of_a_name_is_explained_where_the_name_is_good(
    hook: Callable[..., ModuleType],
) -> None:
    module = hook("pre_gen_project", project_name="!!!")
    assert [message.split(":")[0] for message in module.problems(module.ANSWERS)] == [
        "project_slug"
    ]


def test_a_refused_bake_over_a_project_keeps_what_was_there(bake: Bakery, tmp_path: Path) -> None:
    mine = tmp_path / "shop" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(FailedHookException):
        bake.into(tmp_path, overwrite=True, project_slug="shop", service="json")
    assert [mine.parent, mine] == list(tmp_path.rglob("*"))


def test_a_bake_into_a_folder_that_exists_is_refused_and_keeps_it(
    bake: Bakery, tmp_path: Path
) -> None:
    mine = tmp_path / "shop" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(OutputDirExistsException):
        bake.into(tmp_path, project_slug="shop")
    assert [mine.parent, mine] == list(tmp_path.rglob("*"))


GOOD = {
    "project_name": ["A", "Shop 24/7", "Ünïcode Ltd. 日本", "{x} }} %}", "a" * 200],
    "author": ["Ann", "Ann O'Neil <ann@example.org>", 'Ann "the \\ Bob" 🦕', "علی‌رضا"],
    "project_slug": ["a", "my-shop", "shop-24", "a" * 20, "api", "redis"],
    "service": ["a", "billing", "customer-billing-api", "b-2", "api", "users", "match"],
    "resource": ["a", "line_item", "purchase_order_lines", "c_3", "user", "case", "order", "type"],
}


@pytest.mark.parametrize(
    ("key", "answer"), [(key, answer) for key, answers in GOOD.items() for answer in answers]
)
def test_a_good_answer_is_accepted(key: str, answer: str, hook: Callable[..., ModuleType]) -> None:
    module = hook("pre_gen_project", **({"project_slug": "acme"} | {key: answer}))
    assert list(module.problems(module.ANSWERS)) == []


def test_the_examples_in_messages_are_good_answers(hook: Callable[..., ModuleType]) -> None:
    examples = hook("pre_gen_project").EXAMPLES
    assert examples.keys() == {key for key, value in PROMPTS.items() if isinstance(value, str)}
    module = hook("pre_gen_project", **examples)
    assert list(module.problems(module.ANSWERS)) == []


def test_the_projects_own_folders_and_modules_are_refused(
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
def test_what_the_project_depends_on_and_imports_is_refused(
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
    # No answer begins so, as what is there for the types alone does.
    names = {name for name in needed | imported if not name.startswith("_")}
    module = hook("pre_gen_project")
    known = module.INSTALLED | module.STDLIB | module.OWN | {"zzservice", "gateway"}
    assert names - known == set()


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module


def test_no_good_resource_has_a_name_that_the_code_of_a_service_uses_for_something_else(
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
    """Yield the names that a module binds or reads; those of fields are not in anybody's way."""
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
