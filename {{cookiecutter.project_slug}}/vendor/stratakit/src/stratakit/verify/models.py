"""Comparing what the models give with what the migrations give."""

from collections.abc import Iterator
from importlib import import_module
from operator import attrgetter

import sqlalchemy as sa

from .. import fingerprint
from ..fingerprint import Facts
from .checks import Answer, failed, passed
from .context import VerifyContext
from .revisions import brief, raise_if_server_error


def models(subject: VerifyContext) -> Iterator[Answer]:
    """Do the models give the schema that the migrations give?"""
    migrated = subject.migrated(subject.revisions.chain)
    try:
        metadata = _load(subject.service.metadata)
    except Exception as error:  # noqa: BLE001 - importing the service's code can fail in any way
        yield failed(f"{subject.service.metadata} cannot be loaded: {brief(error)}")
        return
    scratch = subject.scratch()
    try:
        for statement in _prerequisites(migrated):
            scratch.connection.exec_driver_sql(statement)
        metadata.create_all(scratch.connection)
        scratch.connection.commit()
    except Exception as error:  # noqa: BLE001 - so can the types and events that are the service's
        raise_if_server_error(error)
        yield failed(f"{subject.service.metadata} cannot be created: {brief(error)}")
        return
    differences = fingerprint.compare(scratch.facts(), migrated)
    if differences:
        yield failed(
            "the models give what is expected, the migrations what is found: write a migration, or"
            " give the metadata what it cannot hold by itself, by"
            ' sa.event.listen(metadata, "after_create", sa.DDL(...))',
            differences,
        )
    else:
        yield passed(f"as migrated, tables: {len(metadata.tables)}")


def _prerequisites(migrated: Facts) -> Iterator[str]:
    """Yield the statements for what models stand on and `create_all` does not make."""
    for fact in migrated.values():
        if fact.kind == "schema":
            yield f"CREATE SCHEMA IF NOT EXISTS {fact.name}"
    for fact in migrated.values():
        if fact.kind == "extension":
            yield f"CREATE EXTENSION IF NOT EXISTS {fact.name} {fact.definition} CASCADE"


def _load(where: str) -> sa.MetaData:
    module, _, attribute = where.partition(":")
    found = attrgetter(attribute)(import_module(module))
    if not isinstance(found, sa.MetaData):
        raise TypeError(f"it is {type(found).__name__}, not MetaData")
    return found
