"""The base class of sections, the sections in use (``Live``), and the types of values that several sections share."""

import re
from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Annotated, Any, Final, Generic, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)
from pydantic.fields import FieldInfo

from gateway.net.ip_address import is_loopback

WEEK = 7 * 24 * 3600
MOST = 1_000_000_000  # of what is counted; the system and Redis refuse numbers of more than 64 bits


class NewValue(Enum):
    """Whether a running gateway takes a new value of a key by a reload, or only after a restart."""

    RELOADED = "reload"
    RESTARTED = "restart"

    @classmethod
    def of(cls, field: FieldInfo) -> "NewValue | None":
        """Return what the type of a key says, or None if it says nothing."""
        return next((marker for marker in field.metadata if isinstance(marker, cls)), None)


T = TypeVar("T")
U = TypeVar("U")
# The type of each key says how its new value is taken.
Reloaded = Annotated[T, NewValue.RELOADED]
Restarted = Annotated[T, NewValue.RESTARTED]

UrlLife = Annotated[int, Field(ge=1, le=WEEK)]
Timeout = Annotated[float, Field(gt=0, le=3600)]
Count = Annotated[int, Field(ge=1, le=MOST)]


def require(is_right: Callable[[Any], object], problem: str) -> AfterValidator:
    """Return a validator that refuses a value with ``problem`` unless ``is_right`` returns something true for it."""

    def check(value: Any) -> Any:
        if not is_right(value):
            raise ValueError(problem)
        return value

    return AfterValidator(check)


def matches(pattern: str, meaning: str) -> AfterValidator:
    """Return a validator of strings that match ``pattern`` entirely. ``meaning`` completes "must be …"."""
    return require(re.compile(pattern).fullmatch, f"must be {meaning}")


def has_bytes(least: int) -> Callable[[SecretStr], bool]:
    """Return what tells whether a secret has at least so many bytes."""
    return lambda secret: len(secret.get_secret_value().encode()) >= least


def is_trimmed_line(secret: SecretStr) -> bool:
    """Return whether a secret has no line break, and no space at either end. One between words may be intended."""
    value = secret.get_secret_value()
    return value == value.strip() and len(value.splitlines()) <= 1


TRIMMED_LINE: Final = "must not contain line breaks, or spaces at its ends"

# No client can send a token with a space or a line break, and no key of COS has either.
Token = Annotated[
    SecretStr,
    require(lambda secret: not re.search(r"\s", secret.get_secret_value()), "must not contain spaces or line breaks"),
]
Passphrase = Annotated[SecretStr, require(is_trimmed_line, TRIMMED_LINE)]


def _leave_some_addresses(networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Return whether some address is in none of the networks. If not, no client would be outside of them."""
    of_version_4 = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    of_version_6 = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    return 0 not in (*(network.prefixlen for network in of_version_4), *(network.prefixlen for network in of_version_6))


def _as_version_4(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return a network of IPv4-mapped addresses as one of IPv4, with which ``parse_ip`` compares them."""
    first = getattr(network.network_address, "ipv4_mapped", None)
    return network if first is None else IPv4Network((first, network.prefixlen - 96))


# Text alone: Python's ipaddress would read ``10`` as an address.
_is_text = require(lambda value: isinstance(value, str), "must be an address or a network, such as 10.0.0.0/8").func
Network = Annotated[IPvAnyNetwork, BeforeValidator(_is_text), AfterValidator(_as_version_4)]
Networks = Annotated[
    tuple[Network, ...],
    require(_leave_some_addresses, "must not contain every address: any client would be a trusted proxy"),
]


def http_url(url: str) -> SplitResult | None:
    """Return the parts of an ``http`` or ``https`` URL with a host and without a user name, None for any other text."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_usable and "@" not in parts.netloc else None


def may_carry_secrets(url: SplitResult) -> bool:
    """Return whether nobody between this machine and the host of ``url`` can read what is sent."""
    return url.scheme == "https" or is_loopback(url.hostname or "")


def empty_if_null(value: Any) -> Any:
    """Return an empty mapping for null: YAML reads a key with nothing below it as null."""
    return {} if value is None else value


class Section(BaseModel):
    """A section of the configuration. Unknown keys are mistakes. No error quotes a value. Null: defaults, as a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _use_defaults_for_null(cls, value: Any) -> Any:
        return empty_if_null(value)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self._check()
        return self

    def _check(self) -> None:
        """Raise ``ValueError`` if valid values do not go together. Values that depend on others may be set here."""

    @classmethod
    def says_how_keys_are_taken(cls) -> bool:
        """Return whether its keys say so. If not, the section is one value, and the key that holds it says so."""
        return any(map(NewValue.of, cls.model_fields.values()))


class Live(Generic[T]):
    """Holds the current ``value`` of a setting, or of an object made of settings. Users read it anew and never copy it.

    A reload replaces all values in one step that awaits nothing, so a request sees either all old or all new ones.
    """

    __slots__ = ("_watchers", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self._watchers: list[Callable[[T, T], None]] = []

    def map(self, make: Callable[[T], U]) -> "Live[U]":
        """Return what ``make`` makes of the value, and makes anew of each later one."""
        made = Live(make(self.value))
        self.watch(lambda _, new: made.replace(make(new)))
        return made

    def watch(self, replaced: Callable[[T, T], None]) -> None:
        """Call ``replaced`` with the old and the new value when the value has been replaced. It must not fail."""
        self._watchers.append(replaced)

    def replace(self, value: T) -> None:
        """Hold this value from now on. Only the reloader calls it for the settings as a whole."""
        old, self.value = self.value, value
        for replaced in self._watchers:
            replaced(old, value)
