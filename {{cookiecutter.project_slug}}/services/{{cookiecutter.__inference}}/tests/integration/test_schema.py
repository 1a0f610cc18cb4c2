"""Checks, derived from the models, of the tables that the migrations make."""

from functools import partial

from servicebase.postgres import violation
from stratakit.testing import schema

from gateway import models

test_the_tables_are_as_the_models_say = schema.suite(
    models.Base,
    domain_error=partial(violation, metadata=models.Base.metadata),
)
