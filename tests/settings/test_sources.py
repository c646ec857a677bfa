"""YAML, environment and secrets directory; one line for each mistake."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.settings import Settings
from gateway.settings.sources import SettingsError, load_settings

SECRET = "hunter2-the-secret"
SECTION = "must be a section, a mapping of its keys to values; in the environment a variable for each, or JSON"
MISSING = [
    f"{key}: is required and not set" for key in ("postgres.dsn", "cos.secret_id", "cos.secret_key", "cos.bucket")
]
REQUIRED = f"""
postgres: {{dsn: host=localhost}}
cos: {{secret_id: AKID, secret_key: {SECRET}, bucket: photos-1250000000}}
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine reaches the tests."""
    for variable in [name for name in os.environ if name.upper().startswith("GATEWAY_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file with what is required."""
    path = tmp_path / "gateway.yaml"
    path.write_text(REQUIRED)
    return path


@pytest.fixture
def secrets_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A secrets directory that is in use, empty at first."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(folder))
    return folder


def problems(file: Path | None, more: str = "") -> list[str]:
    """The lines an operator reads; none of them shows the secret."""
    if file is not None:
        file.write_text(file.read_text() + more)
    with pytest.raises(SettingsError) as refused:
        load_settings(file)
    assert refused.value.problems == str(refused.value).split("\n")
    assert SECRET not in str(refused.value)
    return refused.value.problems


def test_a_file_is_read(file: Path) -> None:
    file.write_text(REQUIRED + "server: {port: 1234}\n")
    made = load_settings(file)
    assert (made.server.port, made.cos.secret_key.get_secret_value()) == (1234, SECRET)


@pytest.mark.parametrize(
    "text",
    [
        *(f"{name}:\n" for name in Settings.model_fields if name not in ("postgres", "cos")),
        "server:\n  # port: 1234\n",
        "image_proxy:\n  memory_cache:\n    # ttl: 60\n",
        "image_proxy:\n  memory_cache: null\n",
    ],
)
def test_a_section_with_nothing_in_it_means_its_defaults(file: Path, text: str) -> None:
    before = load_settings(file)
    file.write_text(REQUIRED + text)
    assert load_settings(file) == before


def test_a_section_within_a_section_may_be_empty_too(file: Path) -> None:
    before = load_settings(file)
    file.write_text(REQUIRED.replace("host=localhost}", "host=localhost, columns: }"))
    assert load_settings(file) == before


@pytest.mark.parametrize(
    ("variable", "in_the_file"),
    [
        ("GATEWAY_SERVER", "server: {port: 1}"),
        ("GATEWAY_IMAGE_PROXY__MEMORY_CACHE", "image_proxy: {memory_cache: {ttl: 1}}"),
        ("GATEWAY_IMAGE_STYLES", "image_styles: {thumb: imageMogr2/x}"),
    ],
)
def test_a_section_that_is_null_in_the_environment_means_its_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, in_the_file: str
) -> None:
    before = load_settings(file)
    file.write_text(REQUIRED + in_the_file)
    monkeypatch.setenv(variable, "null")
    assert load_settings(file) == before


def test_an_empty_section_lacks_the_keys_that_have_no_default(file: Path) -> None:
    file.write_text("postgres:\ncos:\n")
    assert problems(file) == MISSING


def test_null_keeps_its_meaning_where_it_has_one(file: Path) -> None:
    file.write_text(
        REQUIRED.replace("host=localhost}", "host=localhost, columns: {owner: }}")
        + "access: {jwt: , forwarded_user: , signed_links: }\n"
    )
    made = load_settings(file)
    assert made.postgres.columns.owner is None
    assert (made.access.jwt, made.access.forwarded_user, made.access.signed_links) == (None, None, None)


def test_a_key_without_a_value_is_a_mistake_where_null_means_nothing(file: Path) -> None:
    assert problems(file, "server: {port: }") == ["server.port: input should be a valid integer"]


@pytest.mark.parametrize(
    ("variable", "in_the_file"),
    [
        ("GATEWAY_ADMIN__TOKEN", "admin: {token: the-token-of-the-file}"),
        ("GATEWAY_ACCESS__FORWARDED_USER", "access: {forwarded_user: {trusted_proxies: [10.0.0.0/8]}}"),
        ("GATEWAY_ACCESS__JWT__COOKIE", "access: {jwt: {secret: 0123456789abcdef0123456789abcdef, cookie: token}}"),
    ],
)
def test_null_in_a_variable_turns_off_what_can_be_off(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, in_the_file: str
) -> None:
    """And is no text: the admin's token would be a word that anybody could guess."""
    file.write_text(REQUIRED + in_the_file)
    monkeypatch.setenv(variable, "null")
    found: Any = load_settings(file)
    for name in variable.removeprefix("GATEWAY_").lower().split("__"):
        found = getattr(found, name)
    assert found is None


@pytest.mark.parametrize("name", ["postgres__columns__owner", "cos__domain", "cos__token", "cos__token_expires_at"])
def test_null_in_a_variable_is_null_for_names_and_numbers_too(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"GATEWAY_{name.upper()}", "null")
    found: Any = load_settings(file)
    for part in name.split("__"):
        found = getattr(found, part)
    assert found is None


def test_null_in_a_variable_is_a_mistake_where_null_means_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SERVER__HOST", "null")
    assert problems(file) == ["server.host: input should be a valid string"]


def test_the_environment_outranks_the_secrets_directory_and_that_outranks_the_file(
    file: Path, secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(REQUIRED + "redis: {prefix: 'from-file:'}\nadmin: {token: from-file}\n")
    (secrets_dir / "cos__secret_key").write_text("from-secret")
    (secrets_dir / "admin__token").write_text("from-secret")
    monkeypatch.setenv("GATEWAY_COS__SECRET_KEY", "from-environment")
    made = load_settings(file)
    assert made.cos.secret_key.get_secret_value() == "from-environment"
    assert made.admin.token is not None
    assert made.admin.token.get_secret_value() == "from-secret"
    assert made.redis.prefix == "from-file:"
    assert made.cos.secret_id.get_secret_value() == "AKID", "what outranks a section's key leaves the others"


@pytest.mark.parametrize("name", ["cos__secret_key", "GATEWAY_COS__SECRET_KEY", "gateway_cos__secret_key"])
def test_a_secret_may_be_called_as_the_key_or_as_the_variable(file: Path, secrets_dir: Path, name: str) -> None:
    (secrets_dir / name).write_text("from-secret\n")
    assert load_settings(file).cos.secret_key.get_secret_value() == "from-secret"


def test_secrets_are_found_as_kubernetes_mounts_them(file: Path, secrets_dir: Path) -> None:
    (secrets_dir / "..2026_01_01").mkdir()
    (secrets_dir / "..2026_01_01" / "cos__secret_key").write_text("from-secret")
    (secrets_dir / "..data").symlink_to("..2026_01_01")
    (secrets_dir / "cos__secret_key").symlink_to("..data/cos__secret_key")
    assert load_settings(file).cos.secret_key.get_secret_value() == "from-secret"


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


def test_no_file_is_needed_when_the_environment_says_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {
        "GATEWAY_POSTGRES__DSN": "host=localhost",
        "GATEWAY_COS__SECRET_ID": "AKID",
        "GATEWAY_COS__SECRET_KEY": SECRET,
        "GATEWAY_COS__BUCKET": "photos-1250000000",
    }.items():
        monkeypatch.setenv(variable, value)
    assert load_settings(None).cos.bucket == "photos-1250000000"


def test_variables_that_kubernetes_sets_for_a_service_called_gateway_are_none_of_ours(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("GATEWAY_PORT_80_TCP", "tcp://10.0.0.1:80")
    monkeypatch.setenv("GATEWAY_SERVICE_HOST", "10.0.0.1")
    assert load_settings(file).server.port == 8080


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("servr: {port: 1}", "servr: there is no such key (did you mean server?)"),
        ("server: {prt: 1}", "server.prt: there is no such key (did you mean port?)"),
        ("server: {nonsense_of_mine: 1}", "server.nonsense_of_mine: there is no such key"),
        (
            "image_proxy: {memory_cache: {max_byte: 1}}",
            "image_proxy.memory_cache.max_byte: there is no such key (did you mean max_bytes?)",
        ),
        (
            "access: {jwt: {secret: 0123456789abcdef0123456789abcdef, issuers: x}}",
            "access.jwt.issuers: there is no such key (did you mean issuer?)",
        ),
        (
            "server: {port: eighty}",
            "server.port: input should be a valid integer, unable to parse string as an integer",
        ),
        ("server: {port: 65536}", "server.port: input should be less than or equal to 65535"),
        ("server: &a {hots: *a}", "server.hots: there is no such key (did you mean host?)"),
        ("server: {1: 2}", "server.1: keys should be strings"),
        ('server: {"po\\nrt": 2}', "server.po?rt: there is no such key (did you mean port?)"),
        ("image_styles: {THUMB: imageMogr2/x}", "image_styles.THUMB: must be 1 to 32 of a-z 0-9 _ -"),
        ("image_styles: {thumb: {deep: er}}", "image_styles.thumb: input should be a valid string"),
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
        (
            "image_styles: [thumb]",
            'image_styles: must be a mapping; in the environment as JSON, such as {"name": "value"}',
        ),
        (
            f"access: {{signed_links: {{keys: {{2026: {SECRET}-of-thirty-two-bytes}}}}}}",
            "access.signed_links.keys.2026: must be text: put the key in quotes",
        ),
        ("admin: {token: 20260101}", "admin.token: must be text: put the value in quotes"),
        ("admin: {token: 2026-01-01}", "admin.token: must be text: put the value in quotes"),
        ("server: {port: 1, port: 2}", "server.port: is set twice, in lines 4 and 4"),
        ("server: {port: 1}\nadmin: {}\nserver: {host: x}", "server: is set twice, in lines 4 and 6"),
        (
            "image_proxy:\n  memory_cache:\n    ttl: 1\n    'ttl': 2\n",
            "image_proxy.memory_cache.ttl: is set twice, in lines 6 and 7",
        ),
        ("server: {trusted_proxies: [{a: 1, a: 2}]}", "server.trusted_proxies.0.a: is set twice, in lines 4 and 4"),
        ('image_styles: {"a\\nb": x, "a\\nb": x}', "image_styles.a?b: is set twice, in lines 4 and 4"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(file: Path, more: str, line: str) -> None:
    assert problems(file, more) == [line]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("server: {port: x, hots: y}\ncos: {secret_id: a}\n")
    named = {line.partition(":")[0] for line in problems(file)}
    assert named == {"server.port", "server.hots", "cos.secret_key", "cos.bucket", "postgres.dsn"}


def test_keys_given_twice_are_told_all_at_once(file: Path) -> None:
    """The last would win without a word, and a section given twice be its second half."""
    more = "server: {port: 1, host: a, port: 2, port: 3, host: b}\nserver: {}\n"
    assert [line.partition(":")[0] for line in problems(file, more)] == [
        "server.port",
        "server.port",
        "server.host",
        "server",
    ]


def test_what_stands_under_two_names_is_not_given_twice(file: Path) -> None:
    file.write_text(REQUIRED + "image_styles: &styles {a: imageMogr2/x}\n")
    before = load_settings(file)
    file.write_text(REQUIRED + "image_styles: {<<: &more {a: imageMogr2/y}, a: imageMogr2/x}\n")
    assert load_settings(file) == before


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("GATEWAY_SERVR__PORT", "1", "GATEWAY_SERVR__PORT: there is no section servr (did you mean server?)"),
        ("GATEWAY_SERVER__PRT", "1", "server.prt: there is no such key (did you mean port?)"),
        (
            "GATEWAY_SERVER__PORT",
            SECRET,
            "server.port: input should be a valid integer, unable to parse string as an integer",
        ),
        (
            "GATEWAY_IMAGE_STYLES",
            f"{{{SECRET}",
            'image_styles: must be a mapping; in the environment as JSON, such as {"name": "value"}',
        ),
        (
            "GATEWAY_SERVER__TRUSTED_PROXIES",
            "10.0.0.0/8",
            'server.trusted_proxies: must be a list; in the environment as JSON, such as ["one", "two"]',
        ),
        (
            "GATEWAY_ACCESS__JWT__ALGORITHMS",
            "HS256",
            'access.jwt.algorithms: must be a list; in the environment as JSON, such as ["one", "two"]',
        ),
        ("GATEWAY_SERVER", SECRET, f"server: {SECTION}"),
        ("GATEWAY_IMAGE_PROXY__MEMORY_CACHE", "[" * 100_000, f"image_proxy.memory_cache: {SECTION}"),
        ("GATEWAY_SECRETS_DIR", "/nonexistent/folder", "GATEWAY_SECRETS_DIR: /nonexistent/folder is not a directory"),
    ],
)
def test_a_mistake_in_the_environment_is_told_in_the_same_way(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, line: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert problems(file) == [line]


def test_a_secret_is_what_its_file_holds_whatever_that_is(file: Path, secrets_dir: Path) -> None:
    (secrets_dir / "cos__secret_key").write_text("null")
    assert load_settings(file).cos.secret_key.get_secret_value() == "null"


def test_a_misnamed_secret_is_a_mistake(file: Path, secrets_dir: Path) -> None:
    (secrets_dir / "cos__secret_kex").write_text(SECRET)
    assert problems(file) == ["cos.secret_kex: there is no such key (did you mean secret_key?)"]


def test_an_empty_secret_is_a_mistake(file: Path, secrets_dir: Path) -> None:
    (secrets_dir / "cos__secret_key").write_text("\n")
    assert [line.partition(":")[0] for line in problems(file)] == ["cos.secret_key"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(tmp_path / "missing.yaml")
    assert refused.value.problems == [f"{tmp_path}/missing.yaml: cannot be read: No such file or directory"]


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
def test_what_is_not_yaml_is_said_to_be_not_yaml_in_one_line_without_quoting_it(file: Path, text: str) -> None:
    file.write_text(text)
    (line,) = problems(file)
    assert line.startswith(f"{file}: is not YAML")


def test_bytes_that_are_not_text_are_said_to_be_not_yaml(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00server")
    with pytest.raises(SettingsError, match="is not YAML"):
        load_settings(file)


@pytest.mark.parametrize("text", ["- server", "just words", "5", "1: 2", "true"])
def test_a_file_that_is_no_mapping_of_sections_is_told_so(file: Path, text: str) -> None:
    file.write_text(text)
    assert problems(file) == [f"{file}: must be a mapping of sections, such as 'server:'"]


def test_an_empty_file_lacks_what_is_required(file: Path) -> None:
    file.write_text("")
    assert problems(file) == MISSING


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    plain,
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
def test_any_document_makes_settings_or_lines_that_begin_with_a_key(
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


@given(text=st.text(max_size=60))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_any_text_makes_settings_or_lines(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes(text.encode(errors="replace"))
    with pytest.raises(SettingsError):
        load_settings(file)
