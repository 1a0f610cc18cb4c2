"""What a tier that needs the stack asks of it: that it is up, and healthy."""

from collections.abc import Sequence

from ..errors import InfrastructureError
from . import record
from .lifecycle import choose, current
from .states import State

START = "uv run invoke stack.up"


def require(names: Sequence[str] = ()) -> dict[str, str]:
    """Return where services of the stack answer, all of them where none is named.

    Raises:
        ConfigurationError: there is no such service, or none at all.
        InfrastructureError: no stack runs, or one of them is not healthy.
    """
    services = choose(names)
    if record.load() is None:
        raise InfrastructureError("no stack runs, and there are tests that need one", START)
    statuses = current()[1].statuses(services)
    for each in statuses:
        if each.state is not State.HEALTHY:
            why = f": {each.reason}" if each.reason else ""
            raise InfrastructureError(
                f"the stack is not ready for tests: {each.name} is {each.state}{why}",
                "uv run invoke stack.wait" if each.up else START,
            )
    return {each.name: each.url or "" for each in statuses}
