"""PostgreSQL extensions: those that an installation has, and those that migrations create."""

import re
from functools import cache
from pathlib import Path

from ..project import Service, services
from ..pyproject import postgres
from .carriers import CARRIERS, ICU, fitting

CREATES = re.compile(r"CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?\\?\"?([\w-]+)", re.IGNORECASE)
_ICU = re.compile(r"\bprovider\W{1,6}icu\b|-x-icu\b", re.IGNORECASE)
_OF_IMAGES = """
    amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int dict_xsyn earthdistance
    file_fdw fuzzystrmatch hstore insert_username intagg intarray isn lo ltree moddatetime
    pageinspect pg_buffercache pg_freespacemap pg_prewarm pg_stat_statements pg_surgery pg_trgm
    pg_visibility pg_walinspect pgcrypto pgrowlocks pgstattuple plpgsql postgres_fdw refint seg
    sslinfo tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp xml2
"""
_OF_SOME = {
    "15": {"adminpack", "old_snapshot"},
    "16": {"adminpack", "old_snapshot"},
    "18": {"pg_logicalinspect"},
}
"""Extensions that only some majors have."""


def carried(programs: Path) -> set[str]:
    """Return the extensions installed beside a server's folder of programs."""
    root = programs.parent
    # Debian keeps the programs of each major in one folder, and their shared files in another.
    shares = (root / "share", Path("/usr/share/postgresql") / root.name)
    files = next((found for share in shares if (found := [*share.rglob("*.control")])), [])
    return {file.stem for file in files}


def of_images() -> set[str]:
    """Return the extensions of the project's image `postgres:MAJOR-alpine`: PostgreSQL's own."""
    return {*_OF_IMAGES.split(), *_OF_SOME.get(postgres(), ())}


def to_come() -> set[str]:
    """Return the extensions of the embedded server that will be fetched on first use."""
    special = frozenset().union(*(each.lacks for each in CARRIERS))
    return {*(of_images() | special) - fitting(postgres(), wanted())[0].lacks - {ICU}}


def created(service: Service) -> set[str]:
    """Return the extensions that a service's migrations create, found by searching their text."""
    return {name for text in _texts(service) for name in CREATES.findall(text)}


@cache
def wanted() -> frozenset[str]:
    """Return the extensions that the migrations of all services need, and possibly ICU."""
    icu = {ICU for each in services() if any(_ICU.search(text) for text in _texts(each))}
    return frozenset(icu.union(*(created(each) for each in services())))


def elsewhere(name: str) -> str:
    """Return a hint which servers have an extension, or ICU, that the current one lacks."""
    asked = wanted() | {name}
    known = any(name in each.lacks for each in CARRIERS)
    having = [each.majors for each in CARRIERS if known and not asked & each.lacks]
    majors = sorted({major for each in having for major in each})
    ways = []
    if postgres() in majors:
        ways.append("STRATA_SERVERS=embedded, with its name in the text of a migration")
    elif majors:
        chosen = " or ".join(f'postgres = "{major}"' for major in majors)
        ways.append(f"STRATA_SERVERS=embedded, with {chosen} in [tool.stratakit]")
    if name in {*of_images(), ICU}:
        ways.append("STRATA_SERVERS=docker")
    return f"use one that has it: {', or '.join((*ways, 'TEST_DATABASE_URL=postgresql://...'))}"


def _texts(service: Service) -> list[str]:
    files = sorted((service.path / "migrations").rglob("*.py"))
    return [file.read_text(encoding="utf-8") for file in files]
