"""Migrations to the models and back. test_schema has the tables' constraints."""

from stratakit.testing import migrations

test_the_migrations = migrations.suite("{{ cookiecutter.__service }}")
