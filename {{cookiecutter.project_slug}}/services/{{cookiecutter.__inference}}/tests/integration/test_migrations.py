"""The migrations lead to the models, and back. What the tables hold is in test_schema."""

from pathlib import Path

from servicebase.testing.migrations import Migrations

from gateway import models
from gateway.settings import PREFIX


class TestMigrations(Migrations):
    metadata = models.Base.metadata
    prefix = PREFIX
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
