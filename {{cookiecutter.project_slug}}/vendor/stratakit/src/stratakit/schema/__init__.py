"""Schemas of databases: reading them from the catalog, comparing them, verifying migrations."""
