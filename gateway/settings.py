"""The whole configuration as validated, frozen models; one section for each part of the gateway.

``gateway.settings_sources`` reads them from YAML, environment and secrets directory. Durations are seconds, sizes
bytes. A part is handed its own section, never the whole.
"""

import re
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

WEEK = 7 * 24 * 3600
YEAR = 365 * 24 * 3600


def _matches(pattern: str, meaning: str) -> AfterValidator:
    """A string that matches the whole of ``pattern``; ``meaning`` completes the sentence "must be …"."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")
        return value

    return AfterValidator(check)


# Names that go into SQL: nothing that quoting could be escaped with.
Identifier = Annotated[str, _matches(r"[A-Za-z_][A-Za-z0-9_]{0,62}", "a column name of letters, digits and _")]
TableName = Annotated[
    str,
    _matches(r"([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}", "a table name, or schema.table"),
]
Bucket = Annotated[str, _matches(r"[a-z0-9][a-z0-9-]*-[0-9]+", "a bucket name with its APPID, like photos-1250000000")]
Region = Annotated[str, _matches(r"[a-z0-9][a-z0-9-]*[a-z0-9]", "a region, like ap-guangzhou")]
HostPort = Annotated[
    str,
    _matches(
        r"(\{bucket\}\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?",
        "host or host:port, without scheme or path; it may start with {bucket}.",
    ),
]
StyleName = Annotated[str, _matches(r"[a-z0-9][a-z0-9_-]{0,31}", "1 to 32 of a-z 0-9 _ -")]
Style = Annotated[
    str,
    _matches(r"(imageMogr2|imageView2|watermark)/[!-~]+", "COS processing, like imageMogr2/thumbnail/300x300"),
]
HeaderName = Annotated[str, _matches(r"[A-Za-z][A-Za-z0-9-]*", "a header name")]
Path = Annotated[str, _matches(r"/[A-Za-z0-9_/-]*/", "a path that starts and ends with /")]
RedisUrl = Annotated[SecretStr, Field(min_length=1)]
UrlLife = Annotated[int, Field(ge=1, le=WEEK)]
Timeout = Annotated[float, Field(gt=0, le=3600)]
Networks = tuple[IPvAnyNetwork, ...]


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, and no mistake quotes the value it is about."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerSettings(Section):
    """The public port."""

    host: str = "0.0.0.0"  # noqa: S104 - a gateway is there to be reached
    port: int = Field(8080, ge=0, le=65535)
    reuse_port: bool = False
    shutdown_grace: float = Field(30, ge=0, le=3600)
    keepalive_timeout: Timeout = 75
    max_streams: PositiveInt = 1000
    trusted_proxies: Networks = ()


class AdminSettings(Section):
    """The port of metrics and monitoring."""

    host: str = "127.0.0.1"
    port: int = Field(9090, ge=0, le=65535)
    token: SecretStr | None = None


class RedisSettings(Section):
    """The shared cache of presigned URLs and the refresh queue."""

    url: RedisUrl = SecretStr("redis://localhost:6379/0")
    prefix: str = Field("image:", min_length=1, max_length=64)
    timeout: Timeout = 0.5


class ColumnSettings(Section):
    """Which column of the application's table holds what; null where the table has no such column."""

    id: Identifier = "id"
    owner: Identifier | None = "user_id"
    key: Identifier = "cos_key"
    bucket: Identifier | None = "cos_bucket"
    region: Identifier | None = "cos_region"
    content_type: Identifier | None = "mime_type"
    public: Identifier | None = "is_public"
    status: Identifier | None = "storage_status"


class PostgresSettings(Section):
    """The application's table of images, which the gateway only reads."""

    dsn: SecretStr
    pool_size: PositiveInt = 10
    timeout: Timeout = 5
    table: TableName = "images"
    listen: bool = True
    columns: ColumnSettings = ColumnSettings()


class CosSettings(Section):
    """Where the images are, and how to sign for them.

    ``domain`` is a custom, accelerated or internal domain of ``bucket``; with ``{bucket}.`` in front it serves the
    buckets that rows name, too. ``token_expires_at`` (Unix time) is the end of a temporary ``token``.
    """

    secret_id: SecretStr = Field(min_length=1)
    secret_key: SecretStr = Field(min_length=1)
    token: SecretStr | None = None
    token_expires_at: int | None = None
    region: Region = "ap-guangzhou"
    bucket: Bucket
    scheme: Literal["https", "http"] = "https"
    domain: HostPort | None = None


class UrlCacheSettings(Section):
    """How long presigned URLs live and how they are kept.

    A ``min_remaining`` that is not given, and ``sign_window`` always, is at most a tenth of ``default_ttl``: one key
    is enough to make URLs short-lived.
    """

    enabled: bool = True
    default_ttl: UrlLife = 3600
    max_size: PositiveInt = 10_000
    min_remaining: int = Field(60, ge=0)
    local_ttl: float = Field(30, ge=0, le=3600)
    sign_window: int = Field(300, ge=0)
    warm_top: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fit_the_life_of_a_url(self) -> Self:
        tenth = self.default_ttl // 10
        if "min_remaining" not in self.model_fields_set:
            object.__setattr__(self, "min_remaining", min(self.min_remaining, tenth))
        object.__setattr__(self, "sign_window", min(self.sign_window, tenth))
        if self.min_remaining + self.sign_window >= self.default_ttl:
            raise ValueError(
                f"min_remaining {self.min_remaining} and a signing window of {self.sign_window} leave nothing of "
                f"default_ttl {self.default_ttl}: lower min_remaining"
            )
        return self


class UrlPrerefreshSettings(Section):
    """The task that renews presigned URLs before they die."""

    enabled: bool = True
    interval: float = Field(300, gt=0, le=WEEK)
    threshold: UrlLife = 900
    batch_size: int = Field(100, ge=1, le=10_000)
    lease: UrlLife = 60
    max_attempts: int = Field(5, ge=1, le=100)
    idle_after: int = Field(86_400, ge=1)


class MemoryCacheSettings(Section):
    """Bytes of small hot images in the process; ``max_bytes`` 0 turns it off."""

    max_bytes: int = Field(268_435_456, ge=0)
    max_object_bytes: int = Field(2_097_152, ge=0)
    ttl: float = Field(60, ge=0)


class ImageProxySettings(Section):
    """How the bytes reach the client."""

    enabled: bool = True
    delivery: Literal["stream", "redirect", "accel"] = "stream"
    timeout: Timeout = 30
    retry_count: int = Field(3, ge=0, le=10)
    max_age: int = Field(3600, ge=0, le=YEAR)
    accel_prefix: Path = "/_cos/"
    memory_cache: MemoryCacheSettings = MemoryCacheSettings()


class UrlStatsSettings(Section):
    """Statistics per day."""

    enabled: bool = True
    retention_days: int = Field(30, ge=1, le=3650)


Hmac = Literal["HS256", "HS384", "HS512"]
Asymmetric = Literal["RS256", "ES256", "EdDSA"]
_HMAC = ("HS256", "HS384", "HS512")
_ASYMMETRIC = ("RS256", "ES256", "EdDSA")
_LEAST_RSA_BITS = 2048


class JwtSettings(Section):
    """Who asks, told by a JSON Web Token.

    Exactly one of ``secret``, ``public_key`` (PEM) and ``jwks_url`` says who signs. The families are never mixed: an
    HMAC algorithm goes with a secret alone, so that nobody can sign with a public key taken for one (RFC 8725 section
    2.1). Without ``algorithms`` the key decides: HS256 with a secret, a PEM's own, any of the three with a JWKS.
    """

    secret: SecretStr | None = None
    public_key: str | None = None
    jwks_url: str | None = None
    algorithms: tuple[Hmac | Asymmetric, ...] = Field((), min_length=1)
    audience: str | None = None
    issuer: str | None = None
    user_claim: str = Field("sub", min_length=1)
    cookie: Annotated[str, _matches(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "a cookie name")] | None = None

    @model_validator(mode="after")
    def _one_key_and_only_its_algorithms(self) -> Self:
        given = [name for name in ("secret", "public_key", "jwks_url") if getattr(self, name) is not None]
        if len(given) != 1:
            told = "none of them is" if not given else f"{' and '.join(given)} are"
            raise ValueError(f"needs one of secret, public_key and jwks_url; {told} set")
        possible = self._possible_algorithms()
        if not self.algorithms:
            object.__setattr__(self, "algorithms", possible if self.secret is None else possible[:1])
        if strange := [algorithm for algorithm in self.algorithms if algorithm not in possible]:
            raise ValueError(f"algorithms: {', '.join(strange)} cannot go with this {given[0]}")
        if self.secret is not None:
            self._secret_is_as_long_as_the_hash(self.secret.get_secret_value())
        return self

    def _possible_algorithms(self) -> tuple[str, ...]:
        if self.secret is not None:
            return _HMAC
        if self.public_key is not None:
            return (_algorithm_of(self.public_key),)
        if not _is_trustworthy_address(self.jwks_url or ""):
            raise ValueError("jwks_url must be an https address without a password; http is for this machine alone")
        return _ASYMMETRIC

    def _secret_is_as_long_as_the_hash(self, secret: str) -> None:
        if secret.lstrip().startswith(("-----BEGIN", "ssh-")):
            raise ValueError("secret holds a key pair's key; a public one belongs in public_key")
        # RFC 7518 section 3.2: a key of the size of the hash output or larger must be used.
        needed = max(int(algorithm.removeprefix("HS")) // 8 for algorithm in self.algorithms)
        if len(secret.encode()) < needed:
            raise ValueError(f"secret must be at least {needed} bytes for these algorithms (RFC 7518 section 3.2)")


def _algorithm_of(pem: str) -> str:
    """The one algorithm that this public key verifies; raises ``ValueError`` when it is none of ours."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("public_key is not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    match key:
        case RSAPublicKey() if key.key_size >= _LEAST_RSA_BITS:  # RFC 7518 section 3.3
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
        case _:
            raise ValueError("public_key must be RSA of 2048 bits or more, EC P-256 or Ed25519")


def _is_trustworthy_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if not host or "@" in parts.netloc or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``, an address or a name; an unknown name may be anywhere."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class ForwardedUserSettings(Section):
    """A header in which a proxy that has authenticated the user names him; believed from those networks alone."""

    header: HeaderName = "X-User-Id"
    trusted_proxies: Networks = Field(min_length=1)

    @model_validator(mode="after")
    def _names_somebody_in_particular(self) -> Self:
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            raise ValueError("trusted_proxies must not hold everybody: anyone could then be any user")
        if self.header.lower() in {"authorization", "cookie", "host", "x-forwarded-for", "forwarded"}:
            raise ValueError(f"header: {self.header} has a meaning of its own")
        return self


KeyId = Annotated[str, _matches(r"[A-Za-z0-9._-]{1,32}", "1 to 32 of A-Z a-z 0-9 . _ -")]
_LEAST_LINK_KEY = 32


class SignedLinksSettings(Section):
    """Links that open one image until a time: ``keys`` maps a kid to its secret.

    The first one signs, all of them verify: a new key is put in front, the old one is removed when its links are over.
    """

    keys: dict[KeyId, SecretStr] = Field(min_length=1)

    @model_validator(mode="after")
    def _keys_are_as_long_as_the_hash(self) -> Self:
        for kid, key in self.keys.items():
            if len(key.get_secret_value().encode()) < _LEAST_LINK_KEY:
                raise ValueError(f"keys.{kid} must be at least {_LEAST_LINK_KEY} bytes (RFC 2104 section 3)")
        return self


class AccessSettings(Section):
    """Each way to tell who one is; null: off."""

    jwt: JwtSettings | None = None
    forwarded_user: ForwardedUserSettings | None = None
    signed_links: SignedLinksSettings | None = None


class LoggingSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    redis: RedisSettings = RedisSettings()
    postgres: PostgresSettings
    cos: CosSettings
    url_cache: UrlCacheSettings = UrlCacheSettings()
    url_prerefresh: UrlPrerefreshSettings = UrlPrerefreshSettings()
    image_proxy: ImageProxySettings = ImageProxySettings()
    image_styles: dict[StyleName, Style] = {}
    url_stats: UrlStatsSettings = UrlStatsSettings()
    access: AccessSettings = AccessSettings()
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def _renewal_fits_the_life_of_a_url(self) -> Self:
        """A default ``threshold`` or ``lease`` shrinks with ``default_ttl``; a given one must fit as it is."""
        ttl, given = self.url_cache.default_ttl, self.url_prerefresh
        threshold = given.threshold if "threshold" in given.model_fields_set else max(1, ttl // 4)
        most = {"threshold": threshold, "lease": max(1, threshold // 3)}
        fitted = {
            name: min(getattr(given, name), top) for name, top in most.items() if name not in given.model_fields_set
        }
        renewal = given.model_copy(update=fitted)
        object.__setattr__(self, "url_prerefresh", renewal)
        if renewal.threshold >= ttl:
            raise ValueError(
                f"url_prerefresh.threshold: {renewal.threshold} is not below url_cache.default_ttl {ttl}, "
                "so every URL would be due as soon as it is signed"
            )
        if renewal.lease >= renewal.threshold:
            raise ValueError(
                f"url_prerefresh.lease: {renewal.lease} is not below url_prerefresh.threshold {renewal.threshold}, "
                "so what a dead worker has claimed could expire before another may take it"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given to the constructor: ``gateway.settings_sources`` alone reads the surroundings."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
