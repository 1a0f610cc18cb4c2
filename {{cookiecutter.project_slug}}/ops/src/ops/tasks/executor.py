"""What Invoke lacks: exit codes that mean something, and arguments of the types they declare.

invoke.yaml names the executor. Invoke itself refuses a task or a flag that it does not know before
it comes to us, with exit code 1.
"""

from collections.abc import Callable
from typing import Any, NoReturn, get_type_hints

from invoke.exceptions import Exit, UnexpectedExit
from invoke.executor import Executor as InvokeExecutor
from invoke.tasks import Call, Task
from pydantic import TypeAdapter, ValidationError

from ..errors import Code, ConfigurationError, OpsError

Body = Callable[..., None]


class TypedTask(Task[Body]):
    """A task whose numbers reach the executor as text: Invoke's own parser dies of a bad one."""

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
        except OpsError as error:
            raise Exit(str(error), code=error.code) from error
        except UnexpectedExit as error:
            # A command's own codes mean whatever its author liked.
            raise Exit(str(error), code=Code.FAILED) from error


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
