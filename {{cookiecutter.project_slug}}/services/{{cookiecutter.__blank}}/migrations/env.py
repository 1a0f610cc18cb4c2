"""What Alembic runs; servicebase/migrations.py says how it reaches the database."""

from servicebase import migrations

from {{ cookiecutter.__package }} import models, settings

migrations.run(models.Base.metadata, settings.PREFIX)
