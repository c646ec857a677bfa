"""``docs/configuration.md``: types and limits from the settings model, explanations from ``config/gateway.yaml``."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args, get_origin

from docs.generate.settings_file import Block, Explained, explained_keys
from gateway.settings import Settings
from gateway.settings.base import NewValue, Section

_INTRODUCTION = """\
# Configuration

<!-- `make docs` generates this page from gateway/settings and config/gateway.yaml. -->

[config/gateway.yaml](../config/gateway.yaml) holds every key with its default; copy it and remove the `#` of what you
change. Four keys must be set: `postgres.dsn`, `cos.secret_id`, `cos.secret_key` and `cos.bucket`; with another source
of credentials (`cos.credentials`), only the first and the last.
Durations are in seconds, sizes in bytes. Every command takes the file with `--config FILE`, after its name.

## Sources

A key can be set in three places. The first source that sets it wins:

1. **An environment variable**: `GATEWAY_`, the section, two underscores, the key. Lists and mappings are JSON. The word
   `null` means null, so `GATEWAY_ADMIN__TOKEN=null` turns the admin off whatever the file says.
2. **A file in the secrets directory**, which `GATEWAY_SECRETS_DIR` names. The file `cos__secret_key` sets
   `cos.secret_key`. Docker and Kubernetes mount secrets in this form.
3. **The file** of `--config`. Without `--config`, environment and secrets directory must set everything.

```sh
GATEWAY_URL_CACHE__DEFAULT_TTL=600                  # url_cache.default_ttl
GATEWAY_POSTGRES__COLUMNS__OWNER=author_id          # postgres.columns.owner
GATEWAY_SERVER__TRUSTED_PROXIES='["10.0.0.0/8"]'    # server.trusted_proxies
GATEWAY_SECRETS_DIR=/run/secrets
```

## Mistakes

An unknown key, a key that is set twice, a wrong type and an impossible combination stop the start. The gateway prints
one line for each mistake, names the key, never quotes the value, and exits with code 2. Instead of a name that may be a
secret, it prints `***` and the line of the file. A file may have up to 1 MiB.

```
url_cache.defalt_ttl: there is no such key (did you mean default_ttl?)
cos.*** (line 12): there is no such key (did you mean secret_key?)
postgres.dsn: has a / or an @ in the user name or the password; within a password or a name write / @ % as %2F %40 %25
```

A `/` in the password of a URL is the usual cause of the second line: percent-encode it as `%2F`. The same holds for
`redis.url`. `python -m gateway check` looks further: it tries Redis, Postgres and COS with these settings.

## Reload

A running gateway reads file, environment and secrets directory anew on SIGHUP and on `POST /api/v1/config/reload`
([reload](change.md#reload)). Each key below says what its new value needs: *reload*, or *restart*.

## Keys
"""

_TYPES = MappingProxyType(
    {
        "boolean": "true or false",
        "integer": "integer",
        "null": "null",
        "number": "number",
        "object": "mapping",
        "string": "text",
    }
)
_ITEMS = MappingProxyType({"ipvanynetwork": "networks"})

# Names of settings, variables and paths, which Markdown shows as code.
_CODE = re.compile(
    r"GATEWAY_\w+(?:=\w+)?"
    r"|\bconfig/[a-z./-]+[a-z]"
    rf"|(?<![.\w])(?:{'|'.join(Settings.model_fields)})\.[a-z_]+(?:\.[a-z_]+)*"
    r"|\b(?:[a-z]+(?:_[a-z]+)+|[A-Z]+(?:_[A-Z]+)+)\b"
)


def _ways(model: type[Section], path: str = "") -> Iterator[tuple[str, NewValue]]:
    """Yield each key with the way to take its new value. `*` stands for the name of a bucket."""
    for name, field in model.model_fields.items():
        key, way = f"{path}{name}", NewValue.of(field)
        if way is not None:
            yield key, way
        for inner in _sections_in(field.annotation):
            if way is None or inner.says_how_keys_are_taken():
                yield from _ways(inner, f"{key}.*." if get_origin(field.annotation) is dict else f"{key}.")


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections in the type of a key: itself, in a union with None, or as the values of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_in(argument)


KEYS: Final[Mapping[str, NewValue]] = dict(_ways(Settings))
"""Every key, with the way to take its new value, as its model says."""


def configuration(settings_file: str) -> str:
    """Return the page; ``settings_file`` is the text of ``config/gateway.yaml``.

    Raises ``KeyError`` for a key of the model that the file does not explain.
    """
    explained = {key.path: key for key in explained_keys(settings_file)}
    schema = Settings.model_json_schema()
    return _INTRODUCTION + "".join(f"\n{block}\n" for block in _sections(schema, explained))


def _sections(schema: Mapping[str, Any], explained: Mapping[str, Explained]) -> Iterator[str]:
    for name, described in schema["properties"].items():
        yield f"### {name}"
        yield "\n\n".join(_texts(explained[name].blocks))
        section = _section(schema, described)
        if section is None:
            yield f"A new value needs: *{_needs(name)}*."
        if section is not None:
            yield "\n".join(_keys(schema, section, name, explained))


def _keys(
    schema: Mapping[str, Any],
    section: Mapping[str, Any],
    path: str,
    explained: Mapping[str, Explained],
    indent: str = "",
) -> Iterator[str]:
    for name, described in section["properties"].items():
        key = explained[f"{path}.{name}"]
        inner = _section(schema, described) if not _may_be_null(described) else None
        state = "required" if key.is_set else f"default `{key.default}`"
        metadata = "section" if inner is not None else f"{_type(described)}; {state}; *{_needs(f'{path}.{name}')}*"
        first, *more = _texts(key.blocks)
        yield f"{indent}- `{name}` ({metadata}): {first}"
        for text in more:
            yield ""
            yield from (f"{indent}  {line}".rstrip() for line in text.splitlines())
        if more:
            yield ""
        if inner is not None:
            yield from _keys(schema, inner, f"{path}.{name}", explained, f"{indent}  ")


def _needs(path: str) -> str:
    """Return whether a new value needs a reload or a restart, and what of it differs."""
    below = sorted(
        key.rpartition(".")[2] for key, way in KEYS.items() if key.startswith(f"{path}.") and way is NewValue.RELOADED
    )
    need = KEYS.get(path, NewValue.RESTARTED).value
    return f"{need}; {', '.join(f'`{name}`' for name in below)} within: reload" if below else need


def _texts(blocks: list[Block]) -> Iterator[str]:
    for block in blocks:
        if block.is_example:
            kind = "yaml" if block.lines[0].endswith(":") else ""
            yield "\n".join([f"```{kind}", *block.lines, "```"])
        else:
            yield _as_markdown(" ".join(block.lines))


def _as_markdown(text: str) -> str:
    """``text`` with names of settings as code, and without what Markdown would take for a tag."""
    return _CODE.sub(lambda name: f"`{name[0]}`", text.replace("<", "\\<"))


def _section(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the section that a key holds; None if it holds a value."""
    reference = described.get("$ref")
    if reference is None:
        return None
    found: Mapping[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return found


def _may_be_null(described: Mapping[str, Any]) -> bool:
    return any(alternative.get("type") == "null" for alternative in described.get("anyOf", ()))


def _type(described: Mapping[str, Any]) -> str:
    """What a value must be, in words."""
    if alternatives := described.get("anyOf", described.get("oneOf")):
        return _or(list(dict.fromkeys(_type(alternative) for alternative in alternatives)))
    if "$ref" in described:
        return "section"
    if "enum" in described:
        return _or([f"`{value}`" for value in described["enum"]])
    if described.get("format") == "password":
        return "secret text"
    if "items" in described:
        return f"list of {_ITEMS.get(described['items'].get('format'), 'values')}"
    return _TYPES.get(described.get("type", ""), "value") + _limits(described)


def _or(words: list[str]) -> str:
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _limits(described: Mapping[str, Any]) -> str:
    """The range of a number; empty if there is none."""
    least, above, most = (described.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if above == 0 and described["type"] == "integer":
        least, above = 1, None
    if least is not None and most is not None:
        return f", {least} to {most}"
    limits = {"at least": least, "above": above, "at most": most}
    return "".join(f", {words} {limit}" for words, limit in limits.items() if limit is not None)
