"""The migrations lead to the models, and back. What the tables hold is in test_schema."""

from stratakit.testing import migrations

test_the_migrations = migrations.suite("gateway")
