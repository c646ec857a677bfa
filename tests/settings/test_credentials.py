"""Sources of credentials in the configuration, and the messages for mistakes."""

from pathlib import Path
from typing import Any

import pytest

from gateway.settings import AssumeRoleCredentialsSettings, CvmRoleCredentialsSettings, StaticCredentialsSettings
from gateway.settings.sources import load_settings
from tests.settings.problems import problems

ENTRY_KEY = "the-key-of-entries-with-32-bytes-or-more"
ARN = "qcs::cam::uin/100000000001:roleName/images"
SERVICE_ROLE = "qcs::cam::uin/1:role/tencentcloudServiceRole/4611686018427397919"
FILE = "{source: file, path: /f}"
VARIABLES = ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_TOKEN")
TKE = ("TKE_REGION", "TKE_PROVIDER_ID", "TKE_ROLE_ARN", "TKE_WEB_IDENTITY_TOKEN_FILE")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of this machine."""
    for name in (*VARIABLES, *TKE):
        monkeypatch.delenv(name, raising=False)


def written(tmp_path: Path, credentials: str, *, keys: str = "", entry_key: str = ENTRY_KEY) -> Path:
    """Return a configuration with this source."""
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"postgres: {{dsn: host=localhost}}\nredis: {{entry_key: {entry_key}}}\n"
        f"cos: {{bucket: photos-1250000000, credentials: {credentials}{keys}}}\n"
    )
    return file


@pytest.mark.parametrize(
    "credentials",
    [
        "{source: static, secret_id: AKID, secret_key: key}",
        "{source: static, secret_id: AKID, secret_key: key, token: t, token_expires_at: 1}",
        "{source: file, path: /run/cos.json}",
        "{source: cvm_role}",
        "{source: cvm_role, role: images, metadata_url: 'http://127.0.0.1:9378/'}",
        f"{{source: assume_role, role_arn: '{ARN}', base: {{source: cvm_role}}}}",
        f"{{source: assume_role, role_arn: '{ARN}', base: {{source: assume_role, role_arn: '{ARN}', base: {FILE}}}}}",
        f"{{source: assume_role, role_arn: '{SERVICE_ROLE}', session_name: me@here, duration: 43200, base: {FILE}}}",
        f"{{source: assume_role, role_arn: '{ARN}', external_id: a/b, base: {FILE}, sts_url: 'http://[::1]:9'}}",
    ],
)
def test_a_source_is_accepted_without_keys_in_cos(tmp_path: Path, credentials: str) -> None:
    assert load_settings(written(tmp_path, credentials)).cos.secret_id is None


@pytest.mark.parametrize(
    ("credentials", "problem"),
    [
        ("{}", "cos.credentials.source: is required and not set"),
        ("{source: vault}", "cos.credentials.source: must be one of 'static', 'environment', 'file', "),
        ("{source: file}", "cos.credentials.path: is required and not set"),
        ("{source: file, path: /f, pth: 1}", "cos.credentials.pth: there is no such key"),
        ("{source: cvm_role, role: ../x}", "cos.credentials.role: must be a role name"),
        ("{source: cvm_role, role: a/b}", "cos.credentials.role: must be a role name"),
        ("{source: cvm_role, metadata_url: 'ftp://h'}", "cos.credentials.metadata_url: must be an address"),
        ("{source: cvm_role, metadata_url: 'http://h/latest'}", "cos.credentials.metadata_url: must be an address"),
        ("{source: cvm_role, metadata_url: 'http://u@h'}", "cos.credentials.metadata_url: must be an address"),
        ("{source: cvm_role, metadata_url: 'http://h:0'}", "cos.credentials.metadata_url: must be an address"),
        ("{source: cvm_role, metadata_url: 'http://[h'}", "cos.credentials.metadata_url: must be an address"),
        ("{source: assume_role}", "cos.credentials.role_arn: is required and not set"),
        ("{source: assume_role, role_arn: images}", "cos.credentials.role_arn: must be the ARN of a role"),
        (f"{{source: assume_role, role_arn: '{ARN}'}}", "cos: credentials: the static source needs secret_id"),
        (
            f"{{source: assume_role, role_arn: '{ARN}', base: {{source: cvm_role, role: /}}}}",
            "cos.credentials.base.role: must be a role name",
        ),
        (
            f"{{source: assume_role, role_arn: '{ARN}', duration: 43201, base: {{source: cvm_role}}}}",
            "cos.credentials.duration: input should be less than or equal to 43200",
        ),
        (
            f"{{source: assume_role, role_arn: '{ARN}', base: {{source: cvm_role}}, sts_url: 'http://sts.example'}}",
            "cos.credentials.sts_url: must be an https address",
        ),
        ("{source: static}", "cos: credentials: the static source needs secret_id and secret_key"),
        ("{source: static, secret_id: AKID}", "cos.credentials: needs both of secret_id and secret_key"),
        ("{source: static, token: t}", "cos.credentials: a token needs the secret_id"),
        ("{source: environment}", "cos.credentials: TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY must be set"),
        ("{source: tke_oidc}", f"cos.credentials: {', '.join(TKE)} must be set in the environment"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_key(tmp_path: Path, credentials: str, problem: str) -> None:
    (line,) = problems(written(tmp_path, credentials))
    assert line.startswith(problem)


def test_the_keys_of_cos_are_those_of_the_static_source_and_of_a_base(tmp_path: Path) -> None:
    keys = ", secret_id: AKID, secret_key: key, token: t, token_expires_at: 7"
    for credentials in ("null", "{source: static}", f"{{source: assume_role, role_arn: '{ARN}'}}"):
        source = load_settings(written(tmp_path, credentials, keys=keys)).cos.source
        base = source.base if isinstance(source, AssumeRoleCredentialsSettings) else source
        assert isinstance(base, StaticCredentialsSettings)
        assert base.secret_id is not None
        assert (base.secret_id.get_secret_value(), base.token_expires_at) == ("AKID", 7)


def test_credentials_that_rotate_need_a_key_for_entries_unless_there_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = "redis.entry_key: is required with cos.credentials of the source {}, since replicas"
    static = "{source: static, secret_id: a, secret_key: b}"  # cos.secret_key, the default, is not set
    for name, source in (("cvm_role", "{source: cvm_role}"), ("file", FILE), ("static", static)):
        (line,) = problems(written(tmp_path, source, entry_key="null"))
        assert line.startswith(needed.format(name))
    keys = ", secret_id: a, secret_key: b, buckets: {a-1: {credentials: {source: cvm_role}}}"
    (line,) = problems(written(tmp_path, "null", keys=keys, entry_key="null"))
    assert line.startswith(needed.format("cvm_role"))
    monkeypatch.setenv("GATEWAY_URL_CACHE__ENABLED", "false")
    load_settings(written(tmp_path, "{source: cvm_role}", entry_key="null"))


def test_a_key_for_entries_is_long_and_a_previous_one_needs_a_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = problems(written(tmp_path, "{source: cvm_role}", entry_key="short-secret"))
    assert short == ["redis.entry_key: must be at least 32 bytes"]
    monkeypatch.setenv("GATEWAY_REDIS__ENTRY_KEY_PREVIOUS", ENTRY_KEY)
    file = written(tmp_path, "null", keys=", secret_id: a, secret_key: b", entry_key="null")
    assert problems(file) == ["redis: entry_key_previous is set without entry_key"]


def test_the_environment_can_name_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_COS__CREDENTIALS__SOURCE", "cvm_role")
    monkeypatch.setenv("GATEWAY_COS__CREDENTIALS__ROLE", "images")
    source = load_settings(written(tmp_path, "null")).cos.source
    assert source == CvmRoleCredentialsSettings(source="cvm_role", role="images")


def test_the_variables_of_tencent_s_tools_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VARIABLES, ("AKID", "key"), strict=False):
        monkeypatch.setenv(name, value)
    source: Any = load_settings(written(tmp_path, "{source: environment}")).cos.source
    assert [secret and secret.get_secret_value() for secret in source.values()] == ["AKID", "key", None]
    monkeypatch.setenv(VARIABLES[2], "the-token")
    assert source.values()[2].get_secret_value() == "the-token"


def test_each_bucket_has_its_region_and_source(tmp_path: Path) -> None:
    more = "archive-1250000000: , eu-1250000001: {region: eu-frankfurt, credentials: {source: cvm_role}}"
    keys = f", secret_id: AKID, secret_key: key, region: ap-beijing, buckets: {{{more}}}"
    cos = load_settings(written(tmp_path, "null", keys=keys)).cos
    assert cos.regions == {
        "photos-1250000000": "ap-beijing",
        "archive-1250000000": "ap-beijing",
        "eu-1250000001": "eu-frankfurt",
    }
    assert {name: source.source for name, source in cos.own_sources.items()} == {"eu-1250000001": "cvm_role"}


def test_a_static_source_of_a_bucket_has_keys_of_its_own_or_those_of_cos(tmp_path: Path) -> None:
    own = "{source: static, secret_id: other, secret_key: key}"
    more = f"a-1: {{credentials: {own}}}, b-1: {{credentials: {{source: static}}}}"
    keys = f", secret_id: AKID, secret_key: key, buckets: {{{more}}}"
    sources: list[Any] = list(load_settings(written(tmp_path, "null", keys=keys)).cos.own_sources.values())
    assert [source.secret_id.get_secret_value() for source in sources] == ["other", "AKID"]


@pytest.mark.parametrize(
    ("buckets", "problem"),
    [
        ("{photos-1250000000: {}}", "cos: buckets.photos-1250000000: is cos.bucket"),
        ("{photos: {}}", "cos.buckets.photos: must be a bucket name"),
        ("{a-1: {regoin: x}}", "cos.buckets.a-1.regoin: there is no such key (did you mean region?)"),
        ("{a-1: {scheme: ftp}}", "cos.buckets.a-1.scheme: input should be 'https' or 'http'"),
        ("{a-1: {domain: 'https://x'}}", "cos.buckets.a-1.domain: must be host or host:port"),
        ("{a-1: {credentials: {source: file}}}", "cos.buckets.a-1.credentials.path: is required and not set"),
        ("{a-1: {credentials: {source: x}}}", "cos.buckets.a-1.credentials.source: must be one of 'static'"),
        ("{a-1: {domain: i.example}, b-1: {domain: I.example}}", "cos: buckets.b-1.domain: is that of cos.buckets.a-1"),
        ("{a-1: {domain: i.example}}, domain: i.example", "cos: buckets.a-1.domain: is that of cos.domain, too"),
        ("{a-1: {credentials: {source: static}}}", "cos: buckets.a-1.credentials: the static source needs"),
        ("[a-1]", "cos.buckets: must be a mapping"),
    ],
)
def test_a_mistake_names_the_bucket(tmp_path: Path, buckets: str, problem: str) -> None:
    (line,) = problems(written(tmp_path, "{source: cvm_role}", keys=f", buckets: {buckets}"))
    assert line.startswith(problem)
