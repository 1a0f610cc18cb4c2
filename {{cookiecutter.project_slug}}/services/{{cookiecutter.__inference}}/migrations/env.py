"""Alembic environment; servicebase/migrations.py connects to the database."""

from servicebase import migrations

from gateway import models, settings

migrations.run(models.Base.metadata, settings.PREFIX)
