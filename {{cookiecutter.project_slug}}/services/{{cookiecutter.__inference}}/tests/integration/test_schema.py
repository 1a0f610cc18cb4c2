"""What the models say of the tables is what the migrations made. Each case is derived from them."""

from functools import partial

from servicebase.postgres import violation
from stratakit.testing import schema

from gateway import models

test_the_tables_are_as_the_models_say = schema.suite(
    models.Base,
    domain_error=partial(violation, metadata=models.Base.metadata),
)
