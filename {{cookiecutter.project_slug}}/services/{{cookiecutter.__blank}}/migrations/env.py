"""Entry point of Alembic; servicebase/migrations.py connects to the database."""

from servicebase import migrations

from {{ cookiecutter.__package }} import models, settings

migrations.run(models.Base.metadata, settings.PREFIX)
