"""`invoke doctor`: what this machine has, and what is missing for which tier."""

from invoke.context import Context
from invoke.exceptions import Exit

from ..doctor import show
from .executor import task


@task(help={"tier": "check only what this tier needs", "json": "print JSON"})
def doctor(_: Context, tier: str | None = None, json: bool = False) -> None:
    """Check this machine; show what each tier is missing and how to get it."""
    code = show.tell(tier, as_json=json)
    if code:
        raise Exit(code=code)
