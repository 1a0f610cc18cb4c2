"""The lines of `.env` by which a service that is started by hand uses `dev` like all others.

They stand between two comments and are written anew whenever the servers of `dev` are brought up.
What else is in the file is its user's; a line of theirs that says the same is left alone.
"""

import os
import re
from collections.abc import Mapping

from ..pyproject import ROOT
from . import user_settings

FILE = ROOT / ".env"
BEGIN = "# dev: written by `uv run invoke stack.up` and `db.setup`"
END = "# dev: until here"
_BLOCK = re.compile(rf"^{re.escape(BEGIN)}\n(.*?)^{re.escape(END)}\n?", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^(\w+)='?(.*?)'?$", re.MULTILINE)
_BEFORE = re.compile(
    r"^\w+_(DATABASE_URL=postgresql\+asyncpg://postgres:postgres@localhost:5432/postgres"
    r"|REDIS_URL=redis://localhost:6379/0)\n",
    re.MULTILINE,
)
"""What .env.example has had instead."""


def write(urls: Mapping[str, str]) -> list[str]:
    """Write the URLs of `dev`, by the names of settings; return those that the user has set.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    user_settings.dotenv()
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    block = _BLOCK.search(text)
    noted = dict(_LINE.findall(block[1])) if block else {}
    rest = _BEFORE.sub("", _BLOCK.sub("", text))
    users = {name for name in urls if re.search(rf"(?m)^\s*(export\s+)?{name}\s*=", rest)}
    said = {name: value for name, value in {**noted, **urls}.items() if name not in users}
    lines = "".join(f"{name}='{value}'\n" for name, value in sorted(said.items()))
    ours = f"{BEGIN}\n{lines}{END}\n"
    if block:
        new = _BEFORE.sub("", text[: block.start()] + "\0" + text[block.end() :])
        new = new.replace("\0", ours, 1)
    else:
        new = ours + ("\n" if rest else "") + rest
    if new != text:
        _replace(new)
    return sorted(users)


def _replace(text: str) -> None:
    scratch = FILE.with_name(f".env.{os.getpid()}")
    # Nobody else may read it, from its first byte on.
    scratch.touch(mode=0o600)
    if FILE.exists():
        scratch.chmod(FILE.stat().st_mode)
    scratch.write_text(text, encoding="utf-8")
    # A link stays one.
    scratch.replace(FILE.resolve())
