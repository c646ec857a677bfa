"""``config/gateway.yaml`` documents every setting with its default."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

import pytest
import yaml
from pydantic import BaseModel

from gateway.checks.configuration import PLACEHOLDERS
from gateway.settings import CanarySettings, FallbackSettings, GrantSettings, JwtSettings, PurgeSettings, Settings
from gateway.settings.sources import load_settings
from tests.config.files import GATEWAY_YAML, ROOT, read, read_yaml
from tests.settings_keys import section_in

# "#key: value" is a setting that is commented out; "# text" is prose, and so is the "#   key:" of an example.
COMMENTED_OUT = re.compile(r"^( *)#(?=[a-z_]+:)", re.MULTILINE)
EXAMPLE = re.compile(r"(?:^ *#   .*\n)+", re.MULTILINE)


def uncommented(file: Path = GATEWAY_YAML) -> dict[str, Any]:
    """Return the file with every setting uncommented."""
    document = yaml.safe_load(COMMENTED_OUT.sub(r"\1", file.read_text(encoding="utf-8")))
    assert isinstance(document, dict)
    return document


def keys_of_one_side(model: type[BaseModel], document: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the dotted names of keys that only the model or only the document has."""
    yield from (f"{path}{name}" for name in document.keys() ^ model.model_fields.keys())
    for name, field in model.model_fields.items():
        section = section_in(field.annotation)
        is_mapping = get_origin(field.annotation) is dict  # of names to sections
        if section is not None and isinstance(document.get(name), Mapping) and not is_mapping:
            yield from keys_of_one_side(section, document[name], f"{path}{name}.")


def test_the_configuration_file_loads_without_changes() -> None:
    assert load_settings(GATEWAY_YAML).cos.bucket == "your-bucket-1250000000"


def test_the_configuration_file_documents_every_key_and_no_other() -> None:
    assert list(keys_of_one_side(Settings, uncommented())) == []


def test_the_configuration_file_shows_every_default() -> None:
    """Uncommenting every setting changes no value."""
    assert Settings(**uncommented()).model_dump() == load_settings(GATEWAY_YAML).model_dump()


def test_only_keys_without_a_default_are_set_in_the_configuration_file() -> None:
    stated = {f"{section}.{key}" for section, keys in read_yaml("config/gateway.yaml").items() if keys for key in keys}
    required = {
        f"{name}.{key}"
        for name, field in Settings.model_fields.items()
        if (section := section_in(field.annotation)) is not None and field.default is not None
        for key, setting in section.model_fields.items()
        if setting.is_required()
    }
    required |= {"cos.secret_id", "cos.secret_key"}  # unless there is another source of credentials
    assert stated == required
    document = read_yaml("config/gateway.yaml")
    values = {key: document[section][name] for key in required for section, _, name in [key.partition(".")]}
    assert values == PLACEHOLDERS, "the values that `check` reports as not filled in"


def test_every_setting_is_explained_by_the_comment_above_it() -> None:
    lines = read("config/gateway.yaml").splitlines()
    settings = [number for number, line in enumerate(lines) if COMMENTED_OUT.match(line)]
    unexplained = [lines[number] for number in settings if not lines[number - 1].strip().startswith("# ")]
    assert len(settings) > 50
    assert unexplained == []


def test_one_variable_makes_the_urls_of_the_documented_configuration_short_lived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_URL_CACHE__DEFAULT_TTL", "600")
    settings = load_settings(GATEWAY_YAML)
    assert (settings.url_cache.sign_window, settings.url_prerefresh.threshold) == (60, 150)


def examples(file: Path = GATEWAY_YAML) -> dict[str, Any]:
    """Return the sections that the comments give as examples."""
    blocks = EXAMPLE.findall(file.read_text(encoding="utf-8"))
    texts = [re.sub(r"^ *#   ", "", block, flags=re.MULTILINE) for block in blocks]
    found: dict[str, Any] = {}
    for text in texts:
        if re.match(r"[a-z_]+:\n", text):
            for section, keys in yaml.safe_load(text).items():
                found.setdefault(section, {}).update(keys)
    return found


def with_examples(sections: dict[str, Any]) -> dict[str, Any]:
    """The sections that have examples, with these."""
    return {name: {**(sections.get(name) or {}), **shown} for name, shown in examples().items()}


def test_the_examples_in_the_configuration_file_load() -> None:
    assert examples().keys() == {"postgres", "image_styles", "image_proxy", "access", "purge", "canary"}
    sections = uncommented()
    assert len(Settings(**sections | with_examples(sections)).image_styles) == 4


@pytest.mark.parametrize(
    ("path", "model", "required", "alternatives"),
    [
        ("access.jwt", JwtSettings, {"secret"}, {"public_key", "jwks_url"}),
        ("postgres.grants", GrantSettings, {"table", "image", "user"}, set()),
        ("purge", PurgeSettings, {"target", "base_urls", "zone_id"}, set()),
        ("canary", CanarySettings, {"via", "public", "private"}, set()),
        ("image_proxy.fallback", FallbackSettings, {"path"}, set()),
    ],
)
def test_an_example_shows_every_key_with_its_default(
    path: str, model: type[BaseModel], required: set[str], alternatives: set[str]
) -> None:
    example = examples()
    for name in path.split("."):
        example = example[name]
    assert example.keys() == model.model_fields.keys() - alternatives
    assert model(**example).model_dump() == model(**{name: example[name] for name in required}).model_dump()
    assert "path" not in example or (ROOT / example["path"]).is_file()
