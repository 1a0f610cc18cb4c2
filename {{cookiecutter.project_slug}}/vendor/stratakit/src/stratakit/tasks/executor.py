"""What Invoke lacks: exit codes that mean something, and arguments of the types they declare.

invoke.yaml names the executor; tasks.py has the command line checked before Invoke parses it.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, get_type_hints

import psycopg
from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError, UnexpectedExit
from invoke.executor import Executor as InvokeExecutor
from invoke.main import program
from invoke.parser import Parser
from invoke.tasks import Call, Task
from pydantic import TypeAdapter, ValidationError

from ..errors import (
    Code,
    ConfigurationError,
    InfrastructureError,
    StrataError,
    did_you_mean,
    translated,
)

Body = Callable[..., None]


class TypedTask(Task[Body]):
    """A task whose numbers reach the executor as text: Invoke's own parser dies of a bad one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do it; what the operating system refuses meanwhile is told as such."""
        with translated(f"{self.name} cannot go on"):
            return super().__call__(*args, **kwargs)

    def arg_opts(self, name: str, default: str, taken_names: set[str]) -> dict[str, Any]:
        """Return how Invoke is to parse an argument."""
        options = super().arg_opts(name, default, taken_names)
        if options.get("kind") in (int, float):
            options["kind"] = str
        return options


def task(**options: Any) -> Callable[[Body], TypedTask]:
    """Make a function a task, with the options of `invoke.task`."""

    def make(body: Body) -> TypedTask:
        return TypedTask(body, **options)

    return make


class Executor(InvokeExecutor):
    """Runs tasks under the contract of exit codes 0/1/2/3."""

    def normalize(self, tasks: tuple[Any, ...]) -> list[Call]:
        """Return the calls to make, their arguments of the declared types."""
        calls = super().normalize(tasks)
        for call in calls:
            name = call.called_as or call.task.name
            call.kwargs = _typed(name, call.task.body, call.kwargs)
        return calls

    def execute(self, *tasks: Any) -> dict[Task[Any], Any]:
        """Run the tasks; an error becomes its message and its code."""
        try:
            return super().execute(*tasks)
        except StrataError as error:
            raise Exit(str(error), code=error.code) from error
        except psycopg.Error as error:
            # What an action has not foreseen, such as a lock that only reading has met.
            told = InfrastructureError(
                f"PostgreSQL refuses: {str(error).strip()}",
                "uv run invoke db.shell, and look into pg_stat_activity; then run it again",
            )
            raise Exit(str(told), code=told.code) from error
        except UnexpectedExit as error:
            # A command's own codes mean whatever its author liked.
            raise Exit(str(error), code=Code.FAILED) from error


def check_command_line(actions: Collection) -> None:
    """Refuse a command line that Invoke cannot parse: it would say less, and exit with 1.

    Raises:
        Exit: it is refused.
    """
    # There is none where something other than Invoke loads the actions.
    refusal = _refusal(actions) if hasattr(program, "core") else None
    if refusal:
        raise Exit(str(refusal), code=refusal.code)


def fail(message: str, code: Code = Code.FAILED) -> NoReturn:
    """End the action with a message and an exit code."""
    raise Exit(message, code=code)


def _typed(called: str, body: Body, given: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(body)
    typed = dict(given)
    for name, value in given.items():
        try:
            typed[name] = TypeAdapter(hints.get(name, Any)).validate_python(value)
        except ValidationError as error:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigurationError(
                f"{flag} {value!r} is not valid: {error.errors()[0]['msg']}",
                f"uv run invoke --help {called}",
            ) from None
    return typed


def _refusal(actions: Collection) -> ConfigurationError | None:
    contexts = actions.to_contexts()
    names = [name for each in contexts for name in (str(each.name), *each.aliases)]
    asked = {
        "action": (program.args.help.value, names),
        "group of actions": (program.args.list.value, [*actions.collections]),
    }
    for kind, (name, known) in asked.items():
        if isinstance(name, str) and name not in known:
            return _unknown(f"there is no {kind} {name!r}", name, known)
    core = program.initial_context
    try:
        Parser(contexts, core).parse_argv(program.core.unparsed)
    except ParseError as error:
        action = error.context.name if error.context else None
        unknown = re.fullmatch("No idea what '(.+)' is!", str(error))
        if not unknown:
            said = re.sub(r"<Argument: ([\w-]+)[^>]*>", r"--\1", str(error))
            return ConfigurationError(said, f"uv run invoke --help {action or ''}".strip())
        name = unknown[1]
        if not name.startswith("-"):
            return _unknown(f"there is no action {name!r}", name, names)
        flags = [*core.flag_names(), *(error.context.flag_names() if error.context else ())]
        return _unknown(f"{action or 'invoke'} has no flag {name}", name, flags, action)
    return None


def _unknown(
    what: str, name: str, known: Iterable[str], action: str | None = None
) -> ConfigurationError:
    command = f"--help {action or ''}".strip() if name.startswith("-") else "--list"
    return ConfigurationError(what, did_you_mean(name, known, f"uv run invoke {command}"))
