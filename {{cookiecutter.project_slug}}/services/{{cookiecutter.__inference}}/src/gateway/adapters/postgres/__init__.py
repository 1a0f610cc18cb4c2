"""The database on PostgreSQL."""

from .connection import connect, violation
from .database import PostgresDatabase

__all__ = ["PostgresDatabase", "connect", "violation"]
