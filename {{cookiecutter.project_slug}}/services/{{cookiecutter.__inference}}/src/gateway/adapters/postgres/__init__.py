"""The database on PostgreSQL."""

from .database import PostgresDatabase

__all__ = ["PostgresDatabase"]
