"""The application's table in Postgres, and the DSN, which libpq's own parser must accept. No error quotes the DSN."""

import re
from typing import Annotated, Any, ClassVar, Final

import psycopg2
from psycopg2.extensions import parse_dsn
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from gateway.settings.base import Count, Restarted, Section, Timeout, matches, require

_SCHEMES: Final = ("postgresql://", "postgres://")
_MAX_PORT: Final = 65535
# The resolver takes a number for an address (inet_aton), and libpq's error would quote it.
_BARE_NUMBER: Final = re.compile(r"(?i)[0-9]+|0x[0-9a-f]+")
# libpq ends the password at the first of / and @, and reads the rest as a host name, a port or a database.
_ENCODE: Final = "; within a password or a name write / @ % as %2F %40 %25"
# These names become part of SQL, so no character that could end a quoted identifier is allowed.
_NAME: Final = "[A-Za-z_][A-Za-z0-9_]{0,62}"
Identifier = Annotated[str, matches(_NAME, "a column name of letters, digits and _")]
TableName = Annotated[str, matches(rf"({_NAME}\.)?{_NAME}", "a table name, or schema.table")]


# They become part of SQL: no character that could end a literal, or that a driver takes for the place of a parameter.
ColumnValue = Annotated[str, matches(r"[^'%\\\x00-\x1f]{1,64}", "1 to 64 characters without ' % and \\")]
KeyPrefix = Annotated[str, require(lambda prefix: "\0" not in prefix, "must have no NUL character")]
# A variable of the environment is text.
ColumnOrConstant = Annotated[
    Identifier | bool, BeforeValidator(lambda value: _CONSTANTS.get(value, value) if isinstance(value, str) else value)
]
_CONSTANTS: Final = {"true": True, "false": False}


def _check_dsn(secret: SecretStr) -> SecretStr:
    """Refuse a DSN that is neither a URL nor libpq's list of ``key=value`` (see "Connection Strings")."""
    dsn = secret.get_secret_value()
    if not dsn.strip():  # from a variable that was not filled in: libpq would connect to its default server
        raise ValueError("must not be empty")
    is_url = dsn.startswith(_SCHEMES)
    encode = _ENCODE if is_url else ""
    if not is_url and ("=" not in dsn or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", dsn)):
        raise ValueError("must be postgresql://user:password@host:5432/database, or a list: host=... dbname=...")
    if "\0" in dsn:  # the parser reads up to it and ignores the rest
        raise ValueError("contains a NUL character")
    if is_url and _has_unencoded_separator(dsn):
        raise ValueError(f"has a / or an @ in the user name or the password{encode}")
    try:
        parameters = parse_dsn(dsn)
    except (psycopg2.Error, ValueError):
        # The parser's message quotes the value, which holds a password.
        raise ValueError(f"cannot be parsed as a PostgreSQL connection string{encode}") from None
    if is_url and _is_bare_word(dsn):
        raise ValueError("names a host alone: must be postgresql://user:password@host:5432/database")
    if any(_BARE_NUMBER.fullmatch(host) for host in str(parameters.get("host", "")).split(",")):
        raise ValueError(f"has a number in place of a host{encode}")
    if not all(_is_port(port) for port in str(parameters.get("port", "")).split(",")):
        raise ValueError(f"has a port that is not a number from 1 to {_MAX_PORT}{encode}")
    return secret


def _has_unencoded_separator(url: str) -> bool:
    """Whether the text has a further ``@``, besides the ``@`` before the host."""
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    return "@" in path or authority.count("@") > 1


def _is_bare_word(url: str) -> bool:
    """Whether nothing but a word follows the scheme: rather a password than a host without a user and a database."""
    word = url.partition("://")[2]
    return word not in ("", "localhost") and re.search(r"[/?@:,.\[%]", word) is None


def _is_port(text: str) -> bool:
    """Whether ``text`` is a port. Empty text is a port too: libpq's default."""
    return not text or (text.isdecimal() and text.isascii() and 1 <= int(text[:6]) <= _MAX_PORT)


PostgresDsn = Annotated[SecretStr, AfterValidator(_check_dsn)]


class ColumnSettings(Section):
    """Names of the columns of the application's table. Null: the table has no such column."""

    id: Restarted[Identifier] = "id"
    owner: Restarted[Identifier | None] = "user_id"
    key: Restarted[Identifier] = "cos_key"
    bucket: Restarted[Identifier | None] = "cos_bucket"
    region: Restarted[Identifier | None] = "cos_region"
    content_type: Restarted[Identifier | None] = "mime_type"
    public: Restarted[ColumnOrConstant | None] = "is_public"
    status: Restarted[Identifier | None] = "storage_status"
    deleted_at: Restarted[Identifier | None] = None
    width: Restarted[Identifier | None] = None
    height: Restarted[Identifier | None] = None
    placeholder: Restarted[Identifier | None] = None
    focus: Restarted[Identifier | None] = None
    version: Restarted[Identifier | None] = None
    viewers: Restarted[Identifier | None] = None
    groups: Restarted[Identifier | None] = None
    alias: Restarted[Identifier | None] = None

    @property
    def names(self) -> dict[str, str]:
        """The columns that the table has, by field."""
        return {field: name for field, name in self.model_dump().items() if isinstance(name, str)}


class GrantSettings(Section):
    """A table of the application whose rows let users or groups view images. Its columns, of which null is missing.

    image: the id of the image, of the type of ``columns.id``. until: when the right ends, a timestamp.
    """

    table: TableName
    image: Identifier
    user: Identifier | None = None
    group: Identifier | None = None
    until: Identifier | None = None

    def _check(self) -> None:
        if self.user is None and self.group is None:
            raise ValueError("needs one of user and group")


class TriggerSettings(Section):
    """A table whose changed rows change images: one behind a view, or one that says who may view images.

    id: the column that holds the image's id.
    watched: the columns that matter. Empty: those that the gateway reads, or every column of a table beside its own.
    """

    table: TableName
    id: Identifier
    watched: tuple[Identifier, ...] = ()


class PostgresSettings(Section):
    """The application's table of images, which the gateway only reads."""

    dsn: Restarted[PostgresDsn]
    listen_dsn: Restarted[PostgresDsn | None] = None  # of the primary; None: ``dsn`` leads to it
    pool_size: Restarted[Count] = 10
    timeout: Restarted[Timeout] = 5
    table: Restarted[TableName] = "images"
    listen: Restarted[bool] = True
    columns: ColumnSettings = ColumnSettings()
    public_values: Restarted[tuple[ColumnValue, ...]] = ()
    active_values: Restarted[tuple[ColumnValue, ...]] = Field(("active",), min_length=1)
    key_prefix: Restarted[KeyPrefix] = ""
    grants: Restarted[GrantSettings | None] = None
    changes: Restarted[tuple[TriggerSettings, ...]] = ()

    # The way to the rows, which may differ between machines. Every other key decides what a row says.
    OF_THE_WAY: ClassVar = frozenset({"dsn", "listen_dsn", "pool_size", "timeout", "listen", "changes"})

    @property
    def sources(self) -> dict[str, Any]:
        """The keys that decide what a row says, without defaults: a new key of a release changes nothing by itself."""
        return self.model_dump(mode="json", exclude=set(self.OF_THE_WAY), exclude_defaults=True)

    def server(self) -> tuple[str | None, int | None]:
        """Return host and port, or None if the DSN names no server or several servers."""
        parameters = parse_dsn(self.dsn.get_secret_value())
        host, port = str(parameters.get("host", "")), str(parameters.get("port", ""))
        if "," in host:
            return None, None
        return host or None, int(port) if port.isdecimal() else None

    def primary_dsn(self) -> str:
        """Return the DSN of the server that is written to, and that notifies of changes."""
        return (self.listen_dsn or self.dsn).get_secret_value()
