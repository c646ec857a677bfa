"""One line for each mistake, which names the key."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.settings import Settings
from gateway.settings.sources import SettingsError, load_settings
from tests.settings.problems import REQUIRED, SECRET, SECTION, problems

SHORT = "must have at least 16 characters; null: there is no admin"
INTEGER = "input should be a valid integer, unable to parse string as an integer"
MAPPING = 'must be a mapping; in the environment as JSON, such as {"name": "value"}'
LIST = 'must be a list; in the environment as JSON, such as ["one", "two"]'
NO_KEY = "there is no such key"
BILLION = "input should be less than or equal to 1000000000"
QUOTES = "must be text: put the value in quotes"
CARD = "image_styles.card.process"


def card(process: str) -> str:
    """Return a configuration with a style of this rule."""
    return f"image_styles: {{card: {{process: 'imageMogr2/{process}'}}}}"


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("servr: {port: 1}", f"servr: {NO_KEY} (did you mean server?)"),
        ("server: {prt: 1}", f"server.prt: {NO_KEY} (did you mean port?)"),
        ("server: {max_age: 1}", f"server.max_age: {NO_KEY}"),
        ("server: {nonsense_of_mine: 1}", f"server.*** (line 4): {NO_KEY}"),
        (
            "image_proxy: {memory_cache: {max_byte: 1}}",
            f"image_proxy.memory_cache.max_byte: {NO_KEY} (did you mean max_bytes?)",
        ),
        (
            f"access: {{jwt: {{secret: {'x' * 32}, issuers: x}}}}",
            f"access.jwt.issuers: {NO_KEY} (did you mean issuer?)",
        ),
        ("server: {port: eighty}", f"server.port: {INTEGER}"),
        ("server: {port: 65536}", "server.port: input should be less than or equal to 65535"),
        (f"server: {{max_streams: {10**25}}}", f"server.max_streams: {BILLION}"),
        (f"url_prerefresh: {{idle_after: {10**25}}}", f"url_prerefresh.idle_after: {BILLION}"),
        ("image_proxy: {memory_cache: {ttl: .inf}}", "image_proxy.memory_cache.ttl: input should be a finite number"),
        ("admin: {host: ''}", "admin.host: string should have at least 1 character"),
        ("server: &a {hots: *a}", f"server.hots: {NO_KEY} (did you mean host?)"),
        ("server: {1: 2}", "server.1: keys should be strings"),
        ('server: {"po\\nrt": 2}', f"server.*** (line 4): {NO_KEY} (did you mean port?)"),
        ("image_styles: {THUMB: imageMogr2/x}", "image_styles.THUMB: must be 1 to 32 of a-z 0-9 _ -"),
        (
            "image_styles: {a: imageMogr2/thumbnail/10x/ignore-error/1}\nimage_variants: {originals: owner}",
            (
                "image_styles.a: ignore-error gives the original where COS cannot process it, and "
                "image_variants.originals is owner"
            ),
        ),
        ("image_styles: {thumb: {deep: er}}", f"image_styles.thumb.*** (line 4): {NO_KEY}"),
        (card("strip"), f"{CARD}: has no {{width}}; for one fixed result write the style as a string"),
        (
            card("thumbnail/{width}x{hight}"),
            f"{CARD}: has {{hight}}, but only {{focus}}, {{height}}, {{quality}}, {{width}}",
        ),
        (
            "image_styles: {card: {ratios: ['16:9']}}",
            "image_styles.card: ratios: process has no {height}, such as in crop/{width}x{height}/gravity/{focus}",
        ),
        (
            "image_styles: {card: {process: 'imageMogr2/rotate/{width}/cut/{height}', ratios: ['16:9']}}",
            "image_styles.card: ratios: {height} must be that of thumbnail, crop or scrop",
        ),
        (
            "image_styles: {card: {process: 'imageMogr2/crop/{width}x{height}', ratio: 2, ratios: ['16:9']}}",
            "image_styles.card: ratios: a style has either ratio or ratios",
        ),
        (
            card("thumbnail/{width}x>/ignore-error/1"),
            f"{CARD}: must not have ignore-error: COS would send the original in place of the style",
        ),
        (
            "access: {jwt: {secret: short}}",
            "access.jwt: secret must be at least 32 bytes for these algorithms (RFC 7518 section 3.2)",
        ),
        (
            "url_prerefresh: {threshold: 3600}",
            (
                "url_prerefresh.threshold: 3600 is not below url_cache.default_ttl 3600, "
                "so every URL would be due as soon as it is signed"
            ),
        ),
        ("url_cache: 5", f"url_cache: {SECTION}"),
        ("access: {jwt: off}", f"access.jwt: {SECTION}"),
        ("image_styles: [thumb]", f"image_styles: {MAPPING}"),
        (
            f"access: {{signed_links: {{keys: {{2026: {SECRET}-of-thirty-two-bytes}}}}}}",
            "access.signed_links.keys.2026: must be text: put the key in quotes",
        ),
        ("admin: {token: 20260101}", f"admin.token: {QUOTES}"),
        ("admin: {token: 2026-01-01}", f"admin.token: {QUOTES}"),
        ("admin: {token: ''}", f"admin.token: {SHORT}"),
        ("admin: {token: fifteen-letters}", f"admin.token: {SHORT}"),
        ("server: {port: 1, port: 2}", "server.port: is set twice, in lines 4 and 4"),
        ("server: {port: 1}\nadmin: {}\nserver: {host: x}", "server: is set twice, in lines 4 and 6"),
        (
            "image_proxy:\n  memory_cache:\n    ttl: 1\n    'ttl': 2\n",
            "image_proxy.memory_cache.ttl: is set twice, in lines 6 and 7",
        ),
        ("server: {trusted_proxies: [{a: 1, a: 2}]}", "server.trusted_proxies.0.***: is set twice, in lines 4 and 4"),
        ('image_styles: {"a\\nb": x, "a\\nb": x}', "image_styles.a?b: is set twice, in lines 4 and 4"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(file: Path, more: str, line: str) -> None:
    assert problems(file, more) == [line]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (f"admin:\n  token:{SECRET}: x", "admin.*** (line 5): there is no such key"),
        (f"admin: {{token:{SECRET}}}", "admin.*** (line 4): there is no such key"),
        (f"{SECRET}: x", "*** (line 4): there is no such key"),
        (f"redis: {{{SECRET}: 1, {SECRET}: 2}}", "redis.***: is set twice, in lines 4 and 4"),
        (
            f"access: {{signed_links: {{keys: {{{SECRET}: {'k' * 31}}}}}}}",
            "access.signed_links.keys.*** (line 4): must be at least 32 bytes (RFC 2104 section 3)",
        ),
        (f"image_styles: {{{SECRET}: {{deep: er}}}}", "image_styles.***.*** (line 4): there is no such key"),
        (
            f"image_styles: {{card: {{quality: {{{SECRET}: 1}}}}}}",
            "image_styles.card.quality.*** (line 4): input should be 'original', 'webp' or 'avif'",
        ),
        (
            f"cos: {{secret_id: a, secret_key: b, bucket: c-1250000000, buckets: {{{SECRET}: {{region: ap-x}}}}}}",
            ("cos.buckets.*** (line 4): must be a bucket name with its APPID, like photos-1250000000"),
        ),
    ],
)
def test_a_secret_in_the_place_of_a_name_is_not_printed(file: Path, more: str, line: str) -> None:
    if more.startswith("cos"):
        file.write_text("postgres: {dsn: host=localhost}\n\n\n")
    assert problems(file, more) == [line]


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("server: {port: x, hots: y}\ncos: {secret_id: a}\n")
    named = {line.partition(":")[0] for line in problems(file)}
    assert named == {"server.port", "server.hots", "cos.secret_key", "cos.bucket", "postgres.dsn"}


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("GATEWAY_SERVR__PORT", "1", "GATEWAY_SERVR__PORT: there is no section servr (did you mean server?)"),
        ("GATEWAY_SERVER__PRT", "1", f"server.prt: {NO_KEY} (did you mean port?)"),
        ("GATEWAY_SERVER__PORT", SECRET, f"server.port: {INTEGER}"),
        ("GATEWAY_IMAGE_STYLES", f"{{{SECRET}", f"image_styles: {MAPPING}"),
        ("GATEWAY_SERVER__TRUSTED_PROXIES", "10.0.0.0/8", f"server.trusted_proxies: {LIST}"),
        ("GATEWAY_ACCESS__JWT__ALGORITHMS", "HS256", f"access.jwt.algorithms: {LIST}"),
        ("GATEWAY_SERVER", SECRET, f"server: {SECTION}"),
        ("GATEWAY_IMAGE_PROXY__MEMORY_CACHE", "[" * 100_000, f"image_proxy.memory_cache: {SECTION}"),
        ("GATEWAY_SECRETS_DIR", "/nonexistent/folder", "GATEWAY_SECRETS_DIR: is not a directory"),
    ],
)
def test_a_mistake_in_the_environment_is_one_line_that_names_the_key(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, line: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert problems(file) == [line]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
sections = st.sampled_from([*Settings.model_fields, "nonsense"])
keys = st.sampled_from(
    [key for field in Settings.model_fields.values() for key in getattr(field.annotation, "model_fields", {})]
)


@given(document=st.dictionaries(sections, values | st.dictionaries(keys, values, max_size=4), max_size=4))
@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=50
)
def test_any_document_yields_settings_or_lines_that_begin_with_a_key(
    tmp_path: Path, document: dict[str, object]
) -> None:
    file = tmp_path / "any.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(REQUIRED), **document}, allow_unicode=True), encoding="utf-8")
    try:
        load_settings(file)
    except SettingsError as error:
        for line in error.problems:
            assert ": " in line
            assert "\n" not in line
