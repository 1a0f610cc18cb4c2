"""Settings missing from pyproject.toml."""

from contextlib import closing
from pathlib import Path

from .scratch import Scratch


def test_a_project_without_a_name_is_refused_with_the_line_to_add(tmp_path: Path) -> None:
    with closing(Scratch(tmp_path)) as project:
        file = project.root / "pyproject.toml"
        file.write_text(file.read_text().replace(f'project = "{project.name}"\n', ""))
        outcome = project.invoke("db.status")
    assert outcome.code == 3, outcome.said
    assert '[tool.stratakit] project = "' in outcome.err
