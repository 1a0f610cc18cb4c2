"""Factories of valid rows for any model, derived from its metadata alone."""

from .build import Build, example
from .constraints import BuildError

__all__ = ["Build", "BuildError", "example"]
