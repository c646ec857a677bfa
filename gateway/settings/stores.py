"""Redis and Postgres."""

from typing import Annotated, Final, Self
from urllib.parse import SplitResult

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.settings.postgres_dsn import check_postgres_dsn, server_in
from gateway.settings.redis_url import check_redis_url, split_redis_url
from gateway.settings.section import Count, Reloaded, Restarted, Section, Timeout, Token, matches

_LEAST_KEY_BYTES: Final = 32
_SHARDS_OF_A_CLUSTER: Final = 64

# These names become part of SQL, so no character that could end a quoted identifier is allowed.
Identifier = Annotated[str, matches(r"[A-Za-z_][A-Za-z0-9_]{0,62}", "a column name of letters, digits and _")]
TableName = Annotated[
    str,
    matches(r"([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}", "a table name, or schema.table"),
]


def _check_url(url: SecretStr) -> SecretStr:
    check_redis_url(url.get_secret_value())
    return url


def _check_is_long(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < _LEAST_KEY_BYTES:
        raise ValueError(f"must be at least {_LEAST_KEY_BYTES} bytes")
    return secret


def _check_is_power_of_two(count: int) -> int:
    if count & (count - 1):
        raise ValueError("must be a power of two")
    return count


ShardCount = Annotated[int, Field(ge=1, le=1024), AfterValidator(_check_is_power_of_two)]
KeyPrefix = Annotated[str, matches(r"[^\s\x00-\x1f\x7f]+", "text without spaces and control characters")]
EntryKey = Annotated[Token, AfterValidator(_check_is_long)]
RedisUrl = Annotated[SecretStr, AfterValidator(_check_url)]


def _check_dsn(dsn: SecretStr) -> SecretStr:
    check_postgres_dsn(dsn.get_secret_value())
    return dsn


PostgresDsn = Annotated[SecretStr, AfterValidator(_check_dsn)]


class RedisSettings(Section):
    """The shared cache of presigned URLs and the refresh queue.

    ``shards`` is the number of shards, a power of two; null: 64 for a Cluster, else 1.
    ``entry_key`` is the secret behind the MAC of cached entries. While it changes, entries written with
    ``entry_key_previous`` are accepted, too.
    """

    url: Restarted[RedisUrl] = SecretStr("redis://localhost:6379/0")
    prefix: Restarted[KeyPrefix] = Field("image:", min_length=1, max_length=64)
    timeout: Restarted[Timeout] = 0.5
    shards: Restarted[ShardCount | None] = None
    entry_key: Reloaded[EntryKey | None] = None
    entry_key_previous: Reloaded[EntryKey | None] = None

    @model_validator(mode="after")
    def _check_the_previous_key_has_a_successor(self) -> Self:
        if self.entry_key is None and self.entry_key_previous is not None:
            raise ValueError("entry_key_previous is set without entry_key")
        return self

    @model_validator(mode="after")
    def _check_the_shards_fit(self) -> Self:
        if self.shards == 1 and self.names_a_cluster:
            raise ValueError("shards is 1: a Cluster needs at least 2, because a script names keys of one slot")
        if self.shard_count > 1 and "{" in self.prefix:
            raise ValueError("prefix contains {: it would put all shards into one slot of a Cluster")
        return self

    @property
    def shard_count(self) -> int:
        """Return the number of shards: ``shards``, or by default 64 for a Cluster and 1 for all others."""
        if self.shards is not None:
            return self.shards
        return _SHARDS_OF_A_CLUSTER if self.names_a_cluster else 1

    @property
    def names_a_cluster(self) -> bool:
        """Return whether the URL names nodes of a Cluster."""
        return self.parts().scheme.endswith("+cluster")

    def parts(self) -> SplitResult:
        """Return the parts of the URL. ``netloc`` may name several hosts."""
        return split_redis_url(self.url.get_secret_value())

    def server(self) -> tuple[str | None, int | None]:
        """Return host and port, or None if the URL names no server or several servers."""
        parts = self.parts()
        if "," in parts.netloc or parts.scheme == "unix":
            return None, None
        return parts.hostname, parts.port


class ColumnSettings(Section):
    """Names of the columns of the application's table. Null: the table has no such column."""

    id: Restarted[Identifier] = "id"
    owner: Restarted[Identifier | None] = "user_id"
    key: Restarted[Identifier] = "cos_key"
    bucket: Restarted[Identifier | None] = "cos_bucket"
    region: Restarted[Identifier | None] = "cos_region"
    content_type: Restarted[Identifier | None] = "mime_type"
    public: Restarted[Identifier | None] = "is_public"
    status: Restarted[Identifier | None] = "storage_status"
    width: Restarted[Identifier | None] = None
    height: Restarted[Identifier | None] = None
    placeholder: Restarted[Identifier | None] = None
    focus: Restarted[Identifier | None] = None
    version: Restarted[Identifier | None] = None


class PostgresSettings(Section):
    """The application's table of images, which the gateway only reads.

    ``listen_dsn`` leads to the primary. None: ``dsn`` does.
    """

    dsn: Restarted[PostgresDsn]
    listen_dsn: Restarted[PostgresDsn | None] = None
    pool_size: Restarted[Count] = 10
    timeout: Restarted[Timeout] = 5
    table: Restarted[TableName] = "images"
    listen: Restarted[bool] = True
    columns: ColumnSettings = ColumnSettings()

    def server(self) -> tuple[str | None, int | None]:
        """Return host and port, or None if the DSN names no server or several servers."""
        return server_in(self.dsn.get_secret_value())

    def primary_dsn(self) -> str:
        """Return the DSN of the server that is written to, and that notifies of changes."""
        return (self.listen_dsn or self.dsn).get_secret_value()
