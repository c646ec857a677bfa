"""YAML file, environment and secrets directory, which of them outranks the others, and settings handed over."""

import json
import os
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.settings import Settings
from gateway.settings.reload_difference import difference
from gateway.settings.sources import SettingsError, load_settings, settings_from_text, settings_to_text
from tests.settings.problems import MISSING, REQUIRED, SECRET, problems


def clear(secret: SecretStr | None) -> str | None:
    """Return the text of a secret."""
    return secret.get_secret_value() if secret is not None else None


def test_a_file_is_read(file: Path) -> None:
    file.write_text(REQUIRED + "server: {port: 1234}\n")
    made = load_settings(file)
    assert (made.server.port, clear(made.cos.secret_key)) == (1234, SECRET)


@pytest.mark.parametrize(
    "text",
    [
        *(f"{name}:\n" for name in Settings.model_fields if name not in ("postgres", "cos")),
        "server:\n  # port: 1234\n",
        "image_proxy:\n  memory_cache:\n    # ttl: 60\n",
        "image_proxy:\n  memory_cache: null\n",
    ],
)
def test_an_empty_section_has_its_defaults(file: Path, text: str) -> None:
    before = load_settings(file)
    file.write_text(REQUIRED.replace("host=localhost}", "host=localhost, columns: }") + text)
    assert load_settings(file) == before


@pytest.mark.parametrize(
    ("variable", "in_the_file"),
    [
        ("GATEWAY_SERVER", "server: {port: 1}"),
        ("GATEWAY_IMAGE_PROXY__MEMORY_CACHE", "image_proxy: {memory_cache: {ttl: 1}}"),
        ("GATEWAY_IMAGE_STYLES", "image_styles: {thumb: imageMogr2/x}"),
    ],
)
def test_a_section_that_is_null_in_the_environment_has_its_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, in_the_file: str
) -> None:
    before = load_settings(file)
    file.write_text(REQUIRED + in_the_file)
    monkeypatch.setenv(variable, "null")
    assert load_settings(file) == before


def test_null_is_kept_where_the_key_allows_it_and_is_a_mistake_elsewhere(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(
        REQUIRED.replace("host=localhost}", "host=localhost, columns: {owner: }}")
        + "access: {jwt: , forwarded_user: , signed_links: }\n"
    )
    made = load_settings(file)
    assert made.postgres.columns.owner is None
    assert (made.access.jwt, made.access.forwarded_user, made.access.signed_links) == (None, None, None)
    monkeypatch.setenv("GATEWAY_SERVER__HOST", "null")
    assert problems(file, "server: {port: }") == [
        "server.host: input should be a valid string",
        "server.port: input should be a valid integer",
    ]


@pytest.mark.parametrize(
    ("variable", "in_the_file"),
    [
        ("GATEWAY_ADMIN__TOKEN", "admin: {token: the-token-of-the-file}"),
        ("GATEWAY_ACCESS__FORWARDED_USER", "access: {forwarded_user: {trusted_proxies: [10.0.0.0/8]}}"),
        ("GATEWAY_ACCESS__JWT__COOKIE", "access: {jwt: {secret: 0123456789abcdef0123456789abcdef, cookie: token}}"),
        ("GATEWAY_POSTGRES__COLUMNS__OWNER", ""),
        ("GATEWAY_COS__DOMAIN", ""),
        ("GATEWAY_COS__TOKEN", ""),
        ("GATEWAY_COS__TOKEN_EXPIRES_AT", ""),
    ],
)
def test_null_in_a_variable_turns_a_feature_off(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, in_the_file: str
) -> None:
    """Read as text, "null" would be a token that anybody could guess."""
    file.write_text(REQUIRED + in_the_file)
    monkeypatch.setenv(variable, "null")
    found: Any = load_settings(file)
    for name in variable.removeprefix("GATEWAY_").lower().split("__"):
        found = getattr(found, name)
    assert found is None


def test_the_environment_outranks_the_secrets_directory_and_that_outranks_the_file(
    file: Path, secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(REQUIRED + "redis: {prefix: 'from-file:'}\nadmin: {token: from-the-yaml-file}\n")
    (secrets_dir / "cos__secret_key").write_text("from-secret")
    (secrets_dir / "admin__token").write_text("from-a-secret-file")
    monkeypatch.setenv("GATEWAY_COS__SECRET_KEY", "from-environment")
    made = load_settings(file)
    assert clear(made.cos.secret_key) == "from-environment"
    assert made.admin.token is not None
    assert made.admin.token.get_secret_value() == "from-a-secret-file"
    assert made.redis.prefix == "from-file:"
    assert clear(made.cos.secret_id) == "AKID", "what outranks a section's key leaves the others"


@pytest.mark.parametrize("name", ["cos__secret_key", "GATEWAY_COS__SECRET_KEY", "gateway_cos__secret_key"])
def test_a_secret_file_is_named_after_the_key_or_the_variable_and_may_be_a_link(
    file: Path, secrets_dir: Path, name: str
) -> None:
    def written(target: Path, secret: str) -> None:
        target.parent.mkdir(exist_ok=True)
        target.write_text(f"{secret}\n", encoding="utf-8-sig")  # as editors of Windows write it

    def found() -> str | None:
        return clear(load_settings(file).cos.secret_key)

    written(secrets_dir / name, "null")
    assert found() == "null", "the text is not parsed"
    (secrets_dir / name).unlink()
    # As Kubernetes mounts secrets.
    written(secrets_dir / "..2026_01_01" / name, "from-kubernetes")
    (secrets_dir / "..data").symlink_to("..2026_01_01")
    (secrets_dir / name).symlink_to(f"..data/{name}")
    assert found() == "from-kubernetes"
    (secrets_dir / name).unlink()
    written(file.parent / "key", "from-elsewhere")
    (secrets_dir / name).symlink_to(file.parent / "key")
    assert found() == "from-elsewhere"


@pytest.mark.parametrize("variable", ["GATEWAY_URL_CACHE__DEFAULT_TTL", "gateway_url_cache__default_ttl"])
def test_every_key_can_be_set_by_environment(file: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "600")
    monkeypatch.setenv("GATEWAY_IMAGE_STYLES__THUMB", "imageMogr2/thumbnail/300x300")
    monkeypatch.setenv("GATEWAY_SERVER__TRUSTED_PROXIES", '["10.0.0.0/8"]')
    monkeypatch.setenv("GATEWAY_IMAGE_PROXY__MEMORY_CACHE__MAX_BYTES", "0")
    made = load_settings(file)
    assert made.url_cache.default_ttl == 600
    assert made.image_styles == {"thumb": "imageMogr2/thumbnail/300x300"}
    assert [str(network) for network in made.server.trusted_proxies] == ["10.0.0.0/8"]
    assert made.image_proxy.memory_cache.max_bytes == 0


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {
        "GATEWAY_POSTGRES__DSN": "host=localhost",
        "GATEWAY_COS__SECRET_ID": "AKID",
        "GATEWAY_COS__SECRET_KEY": SECRET,
        "GATEWAY_COS__BUCKET": "photos-1250000000",
    }.items():
        monkeypatch.setenv(variable, value)
    assert load_settings(None).cos.bucket == "photos-1250000000"


def test_variables_of_kubernetes_for_a_service_called_gateway_are_ignored(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PORT", "tcp://10.0.0.1:80"), ("PORT_80_TCP", "tcp://10.0.0.1:80"), ("SERVICE_HOST", "h")):
        monkeypatch.setenv(f"GATEWAY_{name}", value)
    assert load_settings(file).server.port == 8080


def test_a_secret_that_cannot_be_read_is_a_mistake_and_files_of_others_are_ignored(
    file: Path, secrets_dir: Path
) -> None:
    (secrets_dir / "keystore.jks").write_bytes(b"\xfe\xed\xfe\xed")
    assert load_settings(file).redis.entry_key is None
    (secrets_dir / "redis__entry_key").write_bytes(b"\xff" * 32)
    (secrets_dir / "cos__token").write_bytes(b"x" * ((1 << 20) + 1))
    (secrets_dir / "GATEWAY_ADMIN__TOKEN").symlink_to("/proc/self/mem")  # its first page is not mapped
    assert problems(file) == [
        "admin.token: its file in GATEWAY_SECRETS_DIR cannot be read: Input/output error",
        "cos.token: its file in GATEWAY_SECRETS_DIR is larger than 1 MiB",
        "redis.entry_key: its file in GATEWAY_SECRETS_DIR is not text in UTF-8",
    ]


def test_a_variable_that_is_not_text_is_a_mistake(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN__TOKEN", os.fsdecode(b"0123456789abcdef\xff"))
    assert problems(file) == ["GATEWAY_ADMIN__TOKEN: is not text in UTF-8"]


def test_a_misnamed_and_an_empty_secret_are_mistakes(file: Path, secrets_dir: Path) -> None:
    (secrets_dir / "cos__secret_kex").write_text(SECRET)
    (secrets_dir / "cos__secret_id").write_text("\n")
    lines = problems(file)
    assert "cos.secret_kex: there is no such key (did you mean secret_key?)" in lines
    assert {line.partition(":")[0] for line in lines} == {"cos.secret_kex", "cos.secret_id"}


def test_all_repeated_keys_are_reported_at_once(file: Path) -> None:
    """YAML keeps the last value: part of a section would be lost."""
    more = "server: {port: 1, host: a, port: 2, port: 3, host: b}\nserver: {}\n"
    assert [line.partition(":")[0] for line in problems(file, more)] == [
        "server.port",
        "server.port",
        "server.host",
        "server",
    ]


def test_a_file_is_read_up_to_one_mebibyte(file: Path, tmp_path: Path) -> None:
    file.write_text(REQUIRED + "#" * ((1 << 20) - len(REQUIRED)))
    load_settings(file)
    file.write_text(file.read_text() + "#")
    assert problems(file) == [f"{file}: is larger than 1 MiB"]
    with pytest.raises(SettingsError, match=r"/dev/zero: is larger than 1 MiB"):
        load_settings(Path("/dev/zero"))


def test_an_alias_does_not_repeat_a_key(file: Path) -> None:
    file.write_text(REQUIRED + "image_styles: &styles {a: imageMogr2/x}\n")
    before = load_settings(file)
    file.write_text(REQUIRED + "image_styles: {<<: &more {a: imageMogr2/y}, a: imageMogr2/x}\n")
    assert load_settings(file) == before


@pytest.mark.parametrize(
    "text",
    [
        "server: [1",
        f"cos: {{secret_key: {SECRET}: wrong}}",
        f"cos:\n  secret_key: {SECRET}: wrong",
        f"cos: {{secret_key: *{SECRET}}}",
        f"cos: {{secret_key: !{SECRET} x}}",
        f"server: {{port: !!int {SECRET}}}",
        "server: {host: 2026-99-99}",
        "server: {port: 0x_}",
        "[" * 400,
        "server: {[1]: 2}",
        "server: \x00",
    ],
)
def test_invalid_yaml_is_reported_in_one_line_without_quoting_it(file: Path, text: str) -> None:
    file.write_text(text)
    (line,) = problems(file)
    assert line.startswith(f"{file}: is not YAML")


def test_a_file_without_sections_is_a_mistake(file: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    with pytest.raises(SettingsError) as refused:
        load_settings(missing)
    assert refused.value.problems == [f"{missing}: cannot be read: No such file or directory"]
    file.write_bytes(b"\xff\xfe\x00server")
    with pytest.raises(SettingsError, match="is not YAML"):
        load_settings(file)
    for text in ("- server", "just words", "5", "1: 2", "true"):
        file.write_text(text)
        assert problems(file) == [f"{file}: must be a mapping of sections, such as 'server:'"]
    for text in ("", "postgres:\ncos:\n"):
        file.write_text(text)
        assert problems(file) == MISSING


EVERY_KIND_OF_VALUE = """
    server: {trusted_proxies: [10.0.0.0/8, "2001:db8::/32"], max_streams: 5, keepalive_timeout: 7.5}
    admin: {token: a-token-of-the-admin}
    redis: {url: "redis://:p%40ss@localhost:6379/1", entry_key: an-entry-key-of-thirty-two-bytes, prefix: "é:"}
    postgres: {dsn: "host=localhost password=secret", columns: {owner: null}}
    cos:
      secret_id: AKID
      secret_key: a-secret-key
      bucket: photos-1250000000
      buckets:
        other-1250000000:
          credentials: {source: assume_role, role_arn: "qcs::cam::uin/100000000001:roleName/gateway"}
        third-1250000000: {credentials: {source: file, path: /run/credentials.json}}
    purge: {target: webhook, url: "https://purge.example/", base_urls: ["https://img.example"]}
    url_cache: {default_ttl: 600}
    image_proxy: {fallback: {path: /etc/error.png, statuses: [404, 503]}}
    image_styles:
      fixed: imageMogr2/thumbnail/300x300
      card: {widths: [320, 640], formats: [webp], quality: {webp: 50}, ratio: 1.5}
    access:
      jwt: {secret: a-secret-of-tokens-with-32-bytes!}
      forwarded_user: {trusted_proxies: [127.0.0.1]}
      signed_links: {keys: {second: the-second-key-of-links-thirty-two, first: the-first-key-of-links-is-thirty-two}}
"""


def is_same(before: Settings, after: Settings) -> bool:
    """Whether a reload from one to the other would change nothing."""
    found = difference(before, after)
    return not found.changed and not found.need_restart


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of every kind, some of them of the environment."""
    file = tmp_path / "gateway.yaml"
    file.write_text(dedent(EVERY_KIND_OF_VALUE), encoding="utf-8")
    monkeypatch.setenv("GATEWAY_URL_PREREFRESH__BATCH_SIZE", "7")
    return load_settings(file)


def test_another_process_has_the_same_settings_whatever_its_sources_say(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = settings_to_text(settings)
    monkeypatch.setenv("GATEWAY_URL_PREREFRESH__BATCH_SIZE", "8")
    handed = settings_from_text(text)
    assert is_same(settings, handed)
    assert handed.url_prerefresh.batch_size == 7
    assert list(handed.access.signed_links.keys) == ["second", "first"]  # type: ignore[union-attr]
    assert settings_to_text(handed) == text


def test_settings_that_a_reload_has_changed_are_handed_over(settings: Settings) -> None:
    changed = settings.model_copy(update={"url_cache": settings.url_cache.model_copy(update={"default_ttl": 300})})
    reloaded = difference(settings, settings_from_text(settings_to_text(changed))).settings
    assert is_same(reloaded, settings_from_text(settings_to_text(reloaded)))


def test_settings_that_another_version_refuses_are_a_mistake_without_a_value(settings: Settings) -> None:
    values = json.loads(settings_to_text(settings))
    values["admin"]["unknown"] = "a-secret"
    with pytest.raises(SettingsError) as refused:
        settings_from_text(json.dumps(values))
    (line,) = refused.value.problems
    assert line.startswith("admin.unknown: ")
    assert "a-secret" not in line
