"""`invoke deploy.*`: deployments to several machines, from the project's own templates."""

import hashlib
import json
import re
from string import Template
from typing import Literal

from invoke.collection import Collection
from invoke.context import Context

from .. import project
from ..errors import ConfigurationError, did_you_mean
from ..pyproject import ROOT
from . import console
from .executor import task

_SERVERS = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}
_REFERENCE = re.compile(r"[a-z0-9][\w./-]*(:\d+/[\w./-]+)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")
"""Pattern of an image reference that needs no quoting in YAML or a shell."""


@task(
    positional=["service"],
    help={
        "service": "service",
        "image": "image of the service, with a tag or digest of its release",
        "to": "kubernetes or sky: the folder of infra/ with the templates",
        "only": "one template of the folder, such as migrate or service; default: all",
    },
)
def render(
    _: Context,
    service: str,
    image: str,
    to: Literal["kubernetes", "sky"] = "kubernetes",
    only: str | None = None,
) -> None:
    """Print the deployment of a service: Kubernetes manifests, or SkyPilot task files."""
    found = project.service(service)
    if not _REFERENCE.fullmatch(image):
        raise ConfigurationError(
            f"{image!r} is not an image", "for example: --image registry.example.org/name:1.2.3"
        )
    folder = ROOT / "infra" / to
    templates = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if not templates:
        raise ConfigurationError(
            f"there is no infra/{to} in this project, which has the templates",
            """to add it: uvx cruft update --variables-to-update '{"clouds": "all"}'""",
        )
    if only is not None and only not in templates:
        raise ConfigurationError(
            f"there is no infra/{to}/{only}.yaml",
            did_you_mean(only, templates, f"there are {', '.join(templates)}"),
        )
    texts = []
    for name, file in templates.items():
        if only in {None, name}:
            try:
                text = Template(file.read_text(encoding="utf-8"))
                texts.append(text.substitute(_values(found, image)).strip())
            except (KeyError, ValueError) as error:
                raise ConfigurationError(
                    f"infra/{to}/{file.name} has an invalid placeholder: {error}",
                    "write $$ for a literal dollar sign; the placeholders are:"
                    f" {', '.join(_values(found, image))}",
                ) from error
    console.say("\n---\n".join(texts))


def _values(service: project.Service, image: str) -> dict[str, str]:
    """Return the values of the placeholders in a template."""
    servers = [_SERVERS[each] for each in service.needs if each in _SERVERS]
    settings = [f"{service.prefix}{each}" for each in (*servers, *service.secrets)]
    return {
        "service": service.name,
        "name": service.name.replace("_", "-"),
        "prefix": service.prefix,
        "image": image,
        # Kubernetes Jobs are immutable, so each release needs a new one.
        "release": hashlib.sha256(image.encode()).hexdigest()[:8],
        "settings": ", ".join(settings),
        "secrets": json.dumps(dict.fromkeys(settings)),
        "environment": " ".join(f"--env {each}" for each in settings),
    }


deploy = Collection("deploy", render)
