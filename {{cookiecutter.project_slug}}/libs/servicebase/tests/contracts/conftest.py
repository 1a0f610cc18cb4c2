"""Each port, once for every adapter that it has."""

from stratakit.testing import contracts

idempotency = contracts.adapters("memory_idempotency", "redis_idempotency")
repository = contracts.adapters("memory_notes", "postgres_notes")
