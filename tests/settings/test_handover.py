"""Settings that one process hands over to another."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.settings import Settings
from gateway.settings.handover import settings_from_text, settings_to_text
from gateway.settings.reloading import difference
from gateway.settings.sources import SettingsError, load_settings

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
