"""Migrations, up to the models and down again. Constraints of the tables are in test_schema."""

from stratakit.testing import migrations

test_the_migrations = migrations.suite("gateway")
