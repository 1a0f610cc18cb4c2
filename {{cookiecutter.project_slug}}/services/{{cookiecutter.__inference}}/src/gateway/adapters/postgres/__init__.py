"""The database on PostgreSQL."""

from .connection import violation
from .database import PostgresDatabase

__all__ = ["PostgresDatabase", "violation"]
