"""Bake the project that the engine's own tests run in: the engine, a service, and no other tests."""

import shutil
import sys
from pathlib import Path

from baking import ROOT, Bakery, named, snapshot

LINK = Path("services", "gateway", "tests", "integration", "engine")
"""Link to the engine's tests in the baked project, so that edits take effect."""


def host(folder: Path) -> Path:
    """Bake the project afresh into its own folder; return its path."""
    shutil.rmtree(folder, ignore_errors=True)
    bake = Bakery(snapshot(folder / "strata"), folder / "bakery")
    project = bake.into(folder, named(f"Acme {folder.name}")).path
    # Otherwise their fixtures would apply to the engine's tests, too.
    shutil.rmtree(project / "services" / "gateway" / "tests")
    (project / LINK).parent.mkdir(parents=True)
    (project / LINK).symlink_to(ROOT / "tests" / "engine", target_is_directory=True)
    return project


if __name__ == "__main__":
    print(host(Path(sys.argv[1]).resolve()))
