"""Extensions of Invoke: exit codes 0/1/2/3, and arguments converted to their declared types.

invoke.yaml selects the executor; tasks.py checks the command line before Invoke parses it.
"""

import copy
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
    INTERRUPTED,
    Code,
    ConfigurationError,
    InfrastructureError,
    StrataError,
    did_you_mean,
    translated,
)

Body = Callable[..., None]


class TypedTask(Task[Body]):
    """A task that takes numbers as text: Invoke's own parser crashes on an invalid one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; raise an OSError as an InfrastructureError."""
        with translated(f"{self.name} cannot go on"):
            return super().__call__(*args, **kwargs)

    def arg_opts(self, name: str, default: str, taken_names: set[str]) -> dict[str, Any]:
        """Return Invoke's parser options for an argument."""
        options = super().arg_opts(name, default, taken_names)
        if options.get("kind") in (int, float):
            options["kind"] = str
        return options


def task(**options: Any) -> Callable[[Body], TypedTask]:
    """Return a decorator that turns a function into a task, with the options of `invoke.task`."""

    def make(body: Body) -> TypedTask:
        return TypedTask(body, **options)

    return make


class Executor(InvokeExecutor):
    """Executor that exits with the codes 0/1/2/3."""

    def normalize(self, tasks: tuple[Any, ...]) -> list[Call]:
        """Return the calls, with arguments of their declared types."""
        calls = super().normalize(tasks)
        for call in calls:
            name = call.called_as or call.task.name
            if self.config.run.dry and isinstance(call.task, TypedTask):
                raise ConfigurationError(
                    f"--dry stops only shell commands, not what {name} does",
                    f"uv run invoke --help {name}, for --dry-run where there is one",
                )
            call.kwargs = _typed(name, call.task.body, call.kwargs)
        return calls

    def execute(self, *tasks: Any) -> dict[Task[Any], Any]:
        """Run the tasks; turn errors into messages and exit codes."""
        try:
            return super().execute(*tasks)
        except StrataError as error:
            raise Exit(str(error), code=error.code) from error
        except psycopg.Error as error:
            # Unexpected errors of PostgreSQL, such as a lock timeout while reading.
            told = InfrastructureError(
                f"PostgreSQL refuses: {str(error).strip()}",
                "uv run invoke db.shell, and look into pg_stat_activity; then run it again",
            )
            raise Exit(str(told), code=told.code) from error
        except KeyboardInterrupt as error:
            raise Exit("interrupted", code=INTERRUPTED) from error
        except UnexpectedExit as error:
            # Other programs' exit codes do not follow ours.
            raise Exit(str(error), code=Code.FAILED) from error


def check_command_line(actions: Collection) -> None:
    """Refuse a command line that Invoke cannot parse: its own message has no hint and exits with 1.

    Raises:
        Exit: the command line is invalid.
    """
    # There is no command line if something other than Invoke loads the actions.
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
    # Of a copy: Invoke's `Task.get_arguments` takes the flags' descriptions out of the task, whose
    # `--help` would show none.
    contexts = copy.deepcopy(actions).to_contexts()
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
    except ValueError as error:
        # Of an action of the team's own: Invoke converts a value to the type of the default.
        return ConfigurationError(f"a flag has an invalid value: {error}", "uv run invoke --list")
    except ParseError as error:
        action = error.context.name if error.context else None
        unknown = re.fullmatch("No idea what '(.+)' is!", str(error))
        if not unknown:
            said = re.sub(r"<Argument: ([\w-]+)[^>]*>", r"--\1", str(error))
            return ConfigurationError(said, f"uv run invoke --help {action or ''}".strip())
        name = unknown[1]
        if not name.startswith("-"):
            return _unknown(f"there is no action {name!r}", name, names)
        flags = [*(error.context or core).flag_names(), "--help"]
        return _unknown(f"{action or 'invoke'} has no flag {name}", name, flags, action)
    return None


def _unknown(
    what: str, name: str, known: Iterable[str], action: str | None = None
) -> ConfigurationError:
    command = f"--help {action or ''}".strip() if name.startswith("-") else "--list"
    return ConfigurationError(what, did_you_mean(name, known, f"uv run invoke {command}"))
