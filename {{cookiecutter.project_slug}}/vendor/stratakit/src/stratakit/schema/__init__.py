"""Whether the migrations, the models and a database agree: what `invoke db.verify` asks.

Import it where it is used: Alembic takes 0.3 s.
"""

from .checks import Check, as_json, table
from .questions import verify

__all__ = ["Check", "as_json", "table", "verify"]
