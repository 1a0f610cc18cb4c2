"""Docker: its engine, its plugins, the images of the servers."""

from pathlib import Path

from ..errors import InfrastructureError
from .machine import room
from .run import version

INSTALL = "see docs.docker.com/get-started/get-docker"


def engine() -> str:
    """Look at the engine, and at the room that it has where it is on this machine."""
    from ..servers import docker

    with docker.client() as client:
        about = client.info()
    found = f"{about.get('ServerVersion', 'an engine')} at {docker.address()}"
    data = Path(about.get("DockerRootDir") or "/nonexistent")
    # Elsewhere, or ours to see: else its data are not our business.
    if docker.address().startswith("unix:") and _visible(data):
        return f"{found}, data in {room(data, 'docker system prune')}"
    return found


def compose() -> str:
    """Look at Docker Compose."""
    return version("docker", "compose", "version", "--short", hint=INSTALL)


def buildx() -> str:
    """Look at Docker Buildx."""
    return version("docker", "buildx", "version", hint=INSTALL)


def images() -> str:
    """Look for the images of the servers."""
    from ..servers import docker

    names = [image.name for image in docker.IMAGES.values()]
    with docker.client() as client:
        missing = [name for name in names if not docker.has(client, name)]
    if missing:
        raise InfrastructureError(
            f"not pulled: {', '.join(missing)}",
            " && ".join(f"docker pull {name}" for name in missing),
        )
    return ", ".join(names)


def _visible(folder: Path) -> bool:
    try:
        return folder.is_dir() and any(True for _ in folder.iterdir())
    except OSError:
        return False


def stack() -> str:
    """Look whether the stack is up."""
    from ..stack import require  # Slow to import, and not there where nothing is installed.

    return ", ".join(f"{name} at {url}" for name, url in require().items())
