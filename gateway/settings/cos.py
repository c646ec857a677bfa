"""The bucket of images, and the credentials that sign for it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.settings.base import Reloaded, Restarted, Section, Token, empty_if_null, matches, require
from gateway.settings.credentials import AssumeRoleCredentialsSettings, CredentialsSettings, StaticCredentialsSettings

Scheme = Literal["https", "http"]
Unsigned = Literal["obeyed", "refused"]  # what the bucket does with a parameter beside those of a presigned URL
_BUCKET: Final = r"(?=.{1,60}$)[a-z0-9][a-z0-9-]*-[0-9]+"  # as of a row: no bucket has a longer name
Bucket = Annotated[str, matches(_BUCKET, "a bucket name with its APPID, like photos-1250000000")]
Region = Annotated[str, matches(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", "a region, like ap-guangzhou")]


def _has_usable_labels(host_port: str) -> bool:
    labels = host_port.partition(":")[0].removeprefix("{bucket}.").split(".")
    return all(1 <= len(label) <= 63 for label in labels)


_HOST_PORT: Final = r"(\{bucket\}\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
HostPort = Annotated[
    str,
    matches(_HOST_PORT, "host or host:port, without scheme or path; it may start with {bucket}."),
    require(lambda text: 1 <= int(text.partition(":")[2] or 1) <= 65535, "must have a port from 1 to 65535"),
    # Another name cannot be looked up (RFC 1035 section 2.3.4): Python raises no ``OSError`` for it.
    require(_has_usable_labels, "must have 1 to 63 characters between the dots"),
    # The signature covers the host, and clients send it in lower case (RFC 3986 section 6.2.2.1).
    AfterValidator(str.lower),
]

_NOT_SET: Final = object()  # marks a key that is required because of another one


def _check_is_set(value: Any) -> Any:
    if value is _NOT_SET:
        raise PydanticCustomError("missing", "Field required")
    return value


class BucketSettings(Section):
    """Settings of a further bucket. Null: the value of ``cos``, of ``cos.domain`` only if it contains ``{bucket}``."""

    region: Restarted[Region | None] = None
    domain: Restarted[HostPort | None] = None
    scheme: Restarted[Scheme | None] = None
    unsigned_parameters: Restarted[Unsigned | None] = None
    credentials: Reloaded[CredentialsSettings | None] = None


Buckets = Annotated[dict[Bucket, BucketSettings], BeforeValidator(empty_if_null)]


class CosSettings(Section):
    """The bucket of images at Tencent's COS, and the credentials that sign its URLs."""

    secret_id: Reloaded[Annotated[Token | None, Field(min_length=1), BeforeValidator(_check_is_set)]] = None
    secret_key: Reloaded[Annotated[Token | None, Field(min_length=1), BeforeValidator(_check_is_set)]] = None
    token: Reloaded[Token | None] = None
    token_expires_at: Reloaded[int | None] = None  # Unix seconds
    region: Restarted[Region] = "ap-guangzhou"
    bucket: Restarted[Bucket]
    scheme: Restarted[Scheme] = "https"
    domain: Restarted[HostPort | None] = None  # of ``bucket``; with ``{bucket}.``, also of the buckets that rows name
    unsigned_parameters: Restarted[Unsigned] = "obeyed"
    credentials: Reloaded[CredentialsSettings | None] = None
    buckets: Restarted[Buckets] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _require_keys_without_a_source(cls, value: Any) -> Any:
        value = empty_if_null(value)
        if not isinstance(value, Mapping) or value.get("credentials") is not None:
            return value
        missing = [name for name in ("secret_id", "secret_key") if value.get(name) is None]
        return {**value, **dict.fromkeys(missing, _NOT_SET)}

    def _check(self) -> None:
        if self.lacks_keys_of(self.credentials):
            raise ValueError("credentials: the static source needs secret_id and secret_key, here or in cos")
        if self.bucket in self.buckets:
            raise ValueError(f"buckets.{self.bucket}: is cos.bucket, whose keys are above")
        taken = {self.domain: "cos.domain"}
        for name, bucket in self.buckets.items():
            if bucket.domain is not None and "{bucket}" not in bucket.domain:
                if bucket.domain in taken:
                    raise ValueError(f"buckets.{name}.domain: is that of {taken[bucket.domain]}, too")
                taken[bucket.domain] = f"cos.buckets.{name}"
            if bucket.credentials is not None and self.lacks_keys_of(bucket.credentials):
                raise ValueError(f"buckets.{name}.credentials: the static source needs secret_id and secret_key")

    def lacks_keys_of(self, source: CredentialsSettings | None) -> bool:
        """Return whether the source (None: this section's own) takes its keys from this section, which has none."""
        while isinstance(source, AssumeRoleCredentialsSettings):
            source = source.base
        takes_keys = source is None or (isinstance(source, StaticCredentialsSettings) and source.secret_id is None)
        return takes_keys and None in (self.secret_id, self.secret_key)

    @property
    def source(self) -> CredentialsSettings:
        """The source of credentials, with the keys that it takes from this section."""
        return self.with_keys(self.credentials or StaticCredentialsSettings())

    @property
    def own_sources(self) -> Mapping[str, CredentialsSettings]:
        """The sources of the buckets that have their own."""
        return {
            name: self.with_keys(bucket.credentials)
            for name, bucket in self.buckets.items()
            if bucket.credentials is not None
        }

    @property
    def regions(self) -> Mapping[str, str]:
        """The region of each configured bucket."""
        return {self.bucket: self.region} | {
            name: bucket.region or self.region for name, bucket in self.buckets.items()
        }

    @property
    def strict_buckets(self) -> frozenset[str]:
        """The configured buckets that refuse a presigned URL with a parameter that is not signed."""
        ways = {name: bucket.unsigned_parameters or self.unsigned_parameters for name, bucket in self.buckets.items()}
        ways[self.bucket] = self.unsigned_parameters
        return frozenset(name for name, way in ways.items() if way == "refused")

    def with_keys(self, source: CredentialsSettings) -> CredentialsSettings:
        """Return the source. A static source without keys, also as the base of a source, gets this section's keys."""
        if isinstance(source, AssumeRoleCredentialsSettings):
            return source.model_copy(update={"base": self.with_keys(source.base)})
        if not isinstance(source, StaticCredentialsSettings) or source.secret_id is not None:
            return source
        own = {name: getattr(self, name) for name in ("secret_id", "secret_key", "token", "token_expires_at")}
        return source.model_copy(update=own)
