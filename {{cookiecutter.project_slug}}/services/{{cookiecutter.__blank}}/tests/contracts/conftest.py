"""Each port, once for every adapter that it has."""

from stratakit.testing import contracts

repository = contracts.adapters("memory_repository", "postgres_repository")
