"""Run the revisions, which are written when the benchmark starts, on the connection given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
