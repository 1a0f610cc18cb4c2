"""Smoke request that shows that a service works, from the file named in its pyproject.toml."""

import importlib.util
import inspect
import traceback
from asyncio import run
from collections.abc import Callable, Mapping

from ..errors import ConfigurationError, StrataError
from ..project import Service
from ..pyproject import ROOT

NAME = "smoke"
Smoke = Callable[[str, Mapping[str, str]], object]


def load(service: Service) -> Smoke:
    """Return the function `smoke(url, settings)` of a service's file; it may be async.

    Raises:
        ConfigurationError: the file is missing, cannot be imported, or has no such function.
    """
    assert service.smoke  # noqa: S101 - `Options.chosen` has checked it
    file = service.path / service.smoke
    where = file.relative_to(ROOT).as_posix()
    hint = f"write `def {NAME}(url, settings)` in it, which raises if the answer is wrong"
    spec = importlib.util.spec_from_file_location(f"{service.package}_{NAME}", file)
    try:
        assert spec  # noqa: S101 - for the type checker: a path of a .py file has one
        assert spec.loader  # noqa: S101 - as above
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no {where}", hint) from None
    except Exception as error:
        why = traceback.format_exception_only(error)[-1].strip()
        raise ConfigurationError(f"{where} cannot be imported: {why}", hint) from error
    found = getattr(module, NAME, None)
    if not callable(found):
        raise ConfigurationError(f"{where} has no function {NAME}", hint)
    smoke: Smoke = found
    return smoke


def ask(smoke: Smoke, url: str, settings: Mapping[str, str]) -> None:
    """Make the request.

    Raises:
        StrataError: the request failed or its response is wrong; secrets are masked.
    """
    try:
        answer = smoke(url, settings)
        if inspect.iscoroutine(answer):
            run(answer)
    except Exception as error:  # noqa: BLE001 - the service's own file may raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(f"{type(error).__name__} {error}".split())
        for name, value in settings.items():
            said = said.replace(value, f"[{name}]") if value else said
        raise StrataError(f"{said} ({frame.filename.rpartition('/')[2]}:{frame.lineno})") from None
