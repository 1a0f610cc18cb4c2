"""The ports without servers: small, real implementations for tests and for a first look."""
