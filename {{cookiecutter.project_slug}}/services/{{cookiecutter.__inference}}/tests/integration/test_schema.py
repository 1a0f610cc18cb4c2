"""Tables, as the migrations make them, against the models. Each case is derived from the models."""

from functools import partial

from servicebase.postgres import violation
from stratakit.testing import schema

from gateway import models

test_the_tables_match_the_models = schema.suite(
    models.Base,
    domain_error=partial(violation, metadata=models.Base.metadata),
)
