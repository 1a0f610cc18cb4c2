"""Implementations of the ports: PostgreSQL, Redis, inference backends, the system clock."""
