"""The database on PostgreSQL."""

from .connection import address, connect, violation
from .database import PostgresDatabase

__all__ = ["PostgresDatabase", "address", "connect", "violation"]
