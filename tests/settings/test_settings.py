"""Accepted and refused settings, and their defaults."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.settings import Settings

SECRET = "the-secret-that-no-message-may-quote"
REQUIRED: dict[str, dict[str, Any]] = {
    "postgres": {"dsn": "host=localhost"},
    "cos": {"secret_id": "AKID", "secret_key": SECRET, "bucket": "photos-1250000000"},
}


def settings(**sections: dict[str, Any]) -> Settings:
    """The required keys and ``sections``."""
    return Settings.model_validate(
        {name: {**REQUIRED.get(name, {}), **sections.get(name, {})} for name in REQUIRED | sections}
    )


def mistakes(**sections: Any) -> str:
    """Return the error message for a configuration that must be refused."""
    with pytest.raises(ValidationError) as refused:
        settings(**sections)
    return str(refused.value)


@pytest.mark.parametrize("required", REQUIRED)
def test_two_sections_are_required(required: str) -> None:
    """``config/gateway.yaml`` shows the defaults of the others, which a test of that file compares."""
    with pytest.raises(ValidationError, match=f"{required}\n"):
        Settings.model_validate({name: section for name, section in REQUIRED.items() if name != required})


INVALID: dict[str, list[Any]] = {
    "server.port": [-1, 65536],
    "server.max_streams": [0],
    "server.shutdown_grace": [-1],
    "server.trusted_proxies": [
        *(["10.0.0.1/8"], [False], [10], ["::/0"]),
        *(["10.0.0.0/8", "0.0.0.0/0"], ["128.0.0.0/1", "0.0.0.0/1"], ["::ffff:0:0/96"]),
    ],
    "server.hots": ["127.0.0.1"],
    "admin.port": ["http"],
    "redis.url": [""],
    "redis.prefix": ["", "my images:", "images\n", "images\x7f"],
    "redis.timeout": [0],
    "postgres.table": ['images"; DROP TABLE images; --', "a.b.c"],
    "postgres.columns": [{"key": "cos key"}, {"key": None}, {"id": 'id"'}],
    "postgres.pool_size": [0],
    "cos.bucket": [
        *("photos", "Photos-1250000000", "photos-1250000000/", "photos-1250000000\n"),
        f"{'p' * 60}-1250000000",
    ],
    "cos.region": ["ap guangzhou"],
    "cos.scheme": ["ftp"],
    "cos.domain": [
        *("images.example.com:99999", "images.example.com:0", "images..example.com", f"{'i' * 64}.example.com"),
        *("https://images.example.com", "images.example.com/path", "user@images.example.com"),
    ],
    "cos.secret_key": [""],
    "cos.secret_id": [""],
    "url_cache.default_ttl": [0, 7 * 24 * 3600 + 1, 10.5],
    "url_cache.max_size": [0],
    "url_prerefresh.max_attempts": [0],
    "image_proxy.delivery": ["carrier pigeon"],
    "image_proxy.timeout": [0, float("nan")],
    "image_proxy.retry_count": [11],
    "image_proxy.accel_prefix": ["_cos/", "/_cos/\r\nX: y/"],
    "image_proxy.memory_cache": [{"max_byte": 1}],
    "image_proxy.fallback": [
        *({}, "error.png", {"path": ""}),
        *({"path": "error.png", "statuses": wrong} for wrong in ([], [399], [404, 600], ["all"])),
    ],
    "image_styles.Thumb": ["imageMogr2/thumbnail/300x300"],
    "image_styles.thumb": ["thumbnail/300x300", "imageMogr2/thumbnail/300x300 "],
    "url_stats.retention_days": [0],
    "access.jwt": [
        *({"secret": SECRET, "algorithms": ["none"]}, {"secret": SECRET, "algorithms": []}),
        *({"secret": SECRET, name: ""} for name in ("user_claim", "audience", "issuer")),
    ],
    "logging.level": ["loud"],
    "logging.format": ["xml"],
}


@pytest.mark.parametrize("path", INVALID)
def test_an_invalid_value_is_refused_by_key_and_not_quoted(path: str) -> None:
    section, _, key = path.partition(".")
    for value in INVALID[path]:
        message = mistakes(**{section: {key: value}})
        assert path in message, value
        assert SECRET not in message
        assert "input_value" not in message


def test_a_valid_value_is_accepted() -> None:
    settings(
        server={"trusted_proxies": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]},
        postgres={"table": "media.images", "columns": {"owner": None, "public": None, "status": None}},
        image_styles={"thumb-2x_square": "imageMogr2/thumbnail/!50p|imageMogr2/format/webp"},
        image_proxy={"memory_cache": {"max_bytes": 0}},
        url_cache={"default_ttl": 60},
        access={"jwt": {"secret": SECRET, "algorithms": ["HS256"], "audience": "images"}},
    )
    for domain in ("127.0.0.1:9000", "img", "{bucket}.cos.accelerate.myqcloud.com"):
        assert settings(cos={"domain": domain}).cos.domain == domain
    assert settings(cos={"domain": "{bucket}.Img.Example.COM:8443"}).cos.domain == "{bucket}.img.example.com:8443"


@pytest.mark.parametrize(("algorithm", "needed"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_jwt_secret_is_at_least_as_long_as_the_hash(algorithm: str, needed: int) -> None:
    settings(access={"jwt": {"secret": "é" * (needed // 2), "algorithms": [algorithm]}})
    message = mistakes(access={"jwt": {"secret": "x" * (needed - 1), "algorithms": ["HS256", algorithm]}})
    assert f"at least {needed} bytes" in message


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"url_prerefresh": {"threshold": 3600}}, "url_prerefresh.threshold"),
        ({"url_prerefresh": {"lease": 3600}}, "url_prerefresh.lease"),
        ({"url_prerefresh": {"threshold": 900}, "url_cache": {"default_ttl": 600}}, "url_prerefresh.threshold"),
        ({"url_cache": {"min_remaining": 3300}}, "min_remaining"),
    ],
)
def test_an_impossible_combination_is_refused(sections: dict[str, dict[str, int]], named: str) -> None:
    assert named in mistakes(**sections)


@given(ttl=st.integers(10, 7 * 24 * 3600))
def test_a_short_default_ttl_shrinks_every_default_that_depends_on_it(ttl: int) -> None:
    made = settings(url_cache={"default_ttl": ttl})
    cache, renewal = made.url_cache, made.url_prerefresh
    assert cache.sign_window <= ttl / 10
    assert cache.min_remaining <= ttl / 10
    assert cache.min_remaining + cache.sign_window < ttl
    assert 1 <= renewal.threshold < ttl
    assert 1 <= renewal.lease < ttl


@given(
    ttl=st.integers(2, 7200),
    min_remaining=st.integers(0, 7200),
    window=st.integers(0, 7200),
    lease=st.integers(1, 7200),
)
def test_accepted_settings_leave_a_url_some_life(ttl: int, min_remaining: int, window: int, lease: int) -> None:
    cache = {"default_ttl": ttl, "min_remaining": min_remaining, "sign_window": window}
    try:
        made = settings(url_cache=cache, url_prerefresh={"lease": lease})
    except ValidationError:
        return
    assert made.url_cache.min_remaining == min_remaining
    assert min_remaining + made.url_cache.sign_window < ttl
    assert made.url_prerefresh.lease == lease < ttl


def test_settings_are_frozen_printed_without_secrets_and_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SERVER__PORT", "1234")
    made = settings(access={"jwt": {"secret": SECRET}}, admin={"token": SECRET})
    assert made.server.port == 8080
    assert SECRET not in repr(made)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made.server, "port", 1)  # noqa: B010 - mypy, too, knows that it cannot be set


@pytest.mark.parametrize("key", ["cos.secret_id", "cos.secret_key", "cos.token", "admin.token"])
def test_a_secret_pasted_with_a_space_or_a_line_break_is_refused(key: str) -> None:
    section, _, name = key.partition(".")
    for pasted in ("AKID ", " AKID", "AK\nID", "AKID\n", "AK\tID", "AK\u00a0ID", "AK\r\nID"):
        message = mistakes(**{section: {name: pasted}})
        assert f"{key}\n  Value error, must not contain spaces or line breaks" in message
        assert "AK" not in message


def test_a_signing_key_may_contain_spaces_between_words_only() -> None:
    message = "must not contain line breaks, or spaces at its ends"
    for pasted in (f"{SECRET}\n", f" {SECRET}", f"{SECRET}\nmore", f"{SECRET}\u00a0"):
        assert mistakes(access={"jwt": {"secret": pasted}}).count(f"access.jwt\n  Value error, secret {message}") == 1
        of_links = mistakes(access={"signed_links": {"keys": {"k": pasted}}})
        assert of_links.count(f"access.signed_links.keys.k\n  Value error, {message}") == 1
    settings(access={"jwt": {"secret": f"{SECRET} and more"}, "signed_links": {"keys": {"k": f"{SECRET} and more"}}})
