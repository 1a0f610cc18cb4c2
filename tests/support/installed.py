"""An environment with installed packages, in which bakes run without one of their own."""

import os
from dataclasses import dataclass
from pathlib import Path

from baking import Bake


@dataclass(frozen=True)
class Environment:
    """An environment with all dependencies of a project, for one project at a time."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self) -> Path:
        """Folder of its packages."""
        (folder,) = self.folder.glob("[Ll]ib/**/site-packages")
        return folder

    def share_tools(self, bake: Bake) -> Bake:
        """Let a project share the environments of its tools with others."""
        tools = self.folder.with_name("tools")
        tools.mkdir(exist_ok=True)
        (bake.path / ".nox").symlink_to(tools)
        return bake

    def run(self, bake: Bake, *arguments: str, code: int = 0) -> str:
        """Run the interpreter as if the packages of the project were installed in it.

        Returns its standard output, or its standard error if a failure is expected.
        """
        sources = [*bake.path.glob("vendor/stratakit/src"), *bake.path.glob("*/*/src")]
        (self.site_packages / "bake.pth").write_text("\n".join(map(str, sources)), "utf-8")
        env = {
            "VIRTUAL_ENV": str(self.folder),
            "PATH": os.pathsep.join([str(self.python.parent), bake.environment["PATH"]]),
        }
        done = bake.run(str(self.python), *arguments, env=env, check=not code)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout
