"""Target folders of `invoke service.download`, and files that exist already."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .scratch import Scratch

WORDS = """
[tool.stratakit.service.downloads.words]
url = "http://127.0.0.1:1/words"
sha256 = "{digest}"
path = "models/words"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    scratch = Scratch(tmp_path_factory.mktemp("folders"), no_proxy="*")
    settings = scratch.root / "services" / scratch.service.name / "pyproject.toml"
    settings.write_text(settings.read_text() + WORDS.format(digest="0" * 64))
    yield scratch
    scratch.close()


@pytest.fixture
def models(project: Scratch) -> Iterator[Path]:
    """Folder for the file, which does not exist yet."""
    folder = project.root / "services" / project.service.name / "models"
    yield folder
    if folder.is_dir():
        shutil.rmtree(folder)
    else:
        folder.unlink()


def test_a_folder_that_cannot_be_created_is_not_reported_as_a_network_error(
    project: Scratch, models: Path
) -> None:
    models.touch()
    outcome = project.invoke("service.download", "words")
    assert outcome.code == 2, outcome.said
    assert f"words cannot be written to {models / 'words'}: " in outcome.err
    assert "network" not in outcome.err


def test_a_partial_file_removed_meanwhile_does_not_stop_a_download(
    project: Scratch, models: Path
) -> None:
    models.mkdir()
    # A dangling link: the name is listed, but its file is gone when it is opened.
    (models / "words.moved.part").symlink_to("nowhere")
    outcome = project.invoke("service.download", "words")
    assert outcome.code == 2, outcome.said
    assert "refused" in outcome.err
