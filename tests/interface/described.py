"""The public interface as lines of text: what users and their configuration, scripts and dashboards depend on."""

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from docs.generate.configuration import KEYS
from docs.generate.metrics_page import families
from gateway import cli
from gateway.api.static_files import document
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.settings.base import NewValue
from tests.interface.redis_keys import redis_keys

ROOT: Final = Path(__file__).parents[2]
WEB: Final = ROOT / "gateway" / "web"
_FOLDER: Final = Path(__file__).parent
ADVICE: Final = (
    "the interface changes: name it in CHANGELOG.md under Added, Changed or Removed, then run "
    "`python -m tests.interface`"
)
_VERSION: Final = re.compile(r"^# image-gateway nginx files, version (\d+)$", re.MULTILINE)


def _settings() -> Iterator[str]:
    """Yield each key with its type, its default, and what a new value needs."""
    schema = Settings.model_json_schema()

    def keys(section: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, described in section["properties"].items():
            key = f"{path}{name}"
            for alternative in (described, *described.get("anyOf", ())):
                model = schema["$defs"].get(alternative.get("$ref", "").rpartition("/")[2], {})
                if "properties" in model:
                    yield from keys(model, f"{key}.")
            if "$ref" in described:
                continue
            default = json.dumps(described["default"]) if "default" in described else "required"
            yield f"{key}: {_type(described, schema)} = {default}, {_needs(key)}"

    return keys(schema, "")


def _needs(key: str) -> str:
    """Return what a new value needs: as said at the key, or at the mapping that holds the key."""
    parts = key.split(".")
    paths = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((KEYS[path] for path in paths if path in KEYS), NewValue.RESTARTED).value


def _type(described: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in described:
        return _type(schema["$defs"][described["$ref"].rpartition("/")[2]], schema)
    if alternatives := described.get("anyOf", described.get("oneOf")):
        return " | ".join(dict.fromkeys(_type(part, schema) for part in alternatives))
    if "enum" in described:
        return " | ".join(json.dumps(value) for value in described["enum"])
    return str(described.get("format", described.get("type", "value")))


def _addresses() -> Iterator[str]:
    """Yield each address of both ports, and each call of the public port with its parameters, answers and fields."""
    whole = document()
    schemas = whole["components"]["schemas"]
    table = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")  # another test compares it with the routes
    yield from re.findall(r"^\| `((?:GET|POST|DELETE)[^`]* /[^`]*)` \|", table, flags=re.MULTILINE)
    for path, operations in whole["paths"].items():
        shared = operations.get("parameters", [])
        for method, operation in operations.items():
            if method == "parameters":
                continue
            yield f"{method.upper()} {path}"
            for parameter in [*shared, *operation.get("parameters", [])]:
                yield f"{method.upper()} {path}: {parameter['in']} {parameter['name']}"
            for status, response in operation["responses"].items():
                yield f"{method.upper()} {path}: {status} {', '.join(sorted(response.get('content', {})))}".rstrip()
    for name, schema in schemas.items():
        for field, described in schema.get("properties", {}).items():
            required = "" if field in schema.get("required", ()) else ", optional"
            yield f"{name}.{field}: {described.get('type', 'value')}{required}"


def _error_codes() -> Iterator[str]:
    def subclasses(base: type[GatewayError]) -> Iterator[type[GatewayError]]:
        yield base
        for error in base.__subclasses__():
            yield from subclasses(error)

    return (f"{error.code}: {error.status}" for error in subclasses(GatewayError))


def _metrics() -> Iterator[str]:
    for family, labels in families():
        yield f"{family.name}{{{', '.join(labels)}}}: {family.type}"


def _commands() -> Iterator[str]:
    context = click.Context(cli.main, **cli.main.context_settings)
    for name in cli.main.list_commands(context):
        command = cli.main.get_command(context, name)
        assert command is not None
        yield name
        for parameter in command.params:
            names = "/".join([*parameter.opts, *parameter.secondary_opts])
            is_option = isinstance(parameter, click.Option)
            yield f"{name} {names if is_option else names.upper()}{', required' if parameter.required else ''}"


def _files() -> Iterator[str]:
    """Yield the files that operators copy, with their version if they have one."""
    for file in (ROOT / "config").rglob("*"):
        if file.is_file() and "secrets" not in file.parts:
            version = _VERSION.search(file.read_text(encoding="utf-8"))
            yield f"{file.relative_to(ROOT)}{f': version {version[1]}' if version is not None else ''}"


def _package() -> Iterator[str]:
    """Yield the exports of the npm package, and the attributes, properties, events and slots of its element."""
    yield from json.loads((WEB / "package.json").read_text(encoding="utf-8"))["exports"]
    manifest = json.loads((WEB / "custom-elements.json").read_text(encoding="utf-8"))
    for module in manifest["modules"]:
        for declared in module.get("declarations", []):
            for kind in ("attributes", "members", "events", "slots", "cssParts", "cssProperties"):
                for member in declared.get(kind, []):
                    type_ = member.get("type", {}).get("text", member.get("return", {}).get("type", {}).get("text"))
                    name = member["name"] or "(default)"
                    yield f"<{declared.get('tagName', declared['name'])}> {kind} {name}{f': {type_}' if type_ else ''}"


# The name of a snapshot -> what it is of.
DESCRIBED: Final[Mapping[str, Callable[[], Iterable[str]]]] = MappingProxyType(
    {
        "settings": _settings,
        "addresses": _addresses,
        "error-codes": _error_codes,
        "metrics": _metrics,
        "redis-keys": redis_keys,
        "commands": _commands,
        "files": _files,
        "package": _package,
    }
)


def snapshot(name: str) -> Path:
    """Return the file with the lines that were promised."""
    return _FOLDER / f"{name}.txt"


def package_types(types: Path) -> list[str]:
    """Return what the npm package exports, with the types of members. Needs node and npm's packages.

    types: the folder ``dist/types`` of the built package.
    """
    exports = json.loads((WEB / "package.json").read_text(encoding="utf-8"))["exports"]
    files = [f"{name}={Path(to['types']).name}" for name, to in exports.items() if "types" in to]
    script = (_FOLDER / "exported-types.mjs", WEB / "node_modules", types.resolve())
    done = subprocess.run(
        ("node", *script, *files), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    return sorted(set(done.stdout.splitlines()))


def changes_of(name: str, present: Iterable[str]) -> list[str]:
    """Return the lines that are not there any more, and those that are new."""
    before, now = set(snapshot(name).read_text(encoding="utf-8").splitlines()), set(present)
    return [f"- {line}" for line in sorted(before - now)] + [f"+ {line}" for line in sorted(now - before)]


def lines_of(name: str) -> list[str]:
    """Return the lines as they are now, each once and sorted."""
    return sorted(set(DESCRIBED[name]()))
