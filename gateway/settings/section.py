"""The base class of sections, and the types of values that several sections share."""

import re
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Annotated, Any, TypeVar

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

WEEK = 7 * 24 * 3600
MOST = 1_000_000_000  # of what is counted; the system and Redis refuse numbers of more than 64 bits


class NewValue(Enum):
    """How a running gateway takes a new value of a key."""

    RELOADED = "reload"
    RESTARTED = "restart"


T = TypeVar("T")
# The type of each key says how its new value is taken.
Reloaded = Annotated[T, NewValue.RELOADED]
Restarted = Annotated[T, NewValue.RESTARTED]

UrlLife = Annotated[int, Field(ge=1, le=WEEK)]
Timeout = Annotated[float, Field(gt=0, le=3600)]
Count = Annotated[int, Field(ge=1, le=MOST)]


def matches(pattern: str, meaning: str) -> AfterValidator:
    """Return a validator of strings that match ``pattern`` entirely. ``meaning`` completes "must be …"."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")
        return value

    return AfterValidator(check)


def _check_no_whitespace(secret: SecretStr) -> SecretStr:
    """Refuse a secret with a space or a line break: no client can send such a token, and no key of COS has either."""
    if re.search(r"\s", secret.get_secret_value()):
        raise ValueError("must not contain spaces or line breaks")
    return secret


def without_stray_whitespace(secret: SecretStr) -> SecretStr:
    """Refuse a line break, and a space at either end. A space between words may be intended."""
    value = secret.get_secret_value()
    if value != value.strip() or len(value.splitlines()) > 1:
        raise ValueError("must not contain line breaks, or spaces at its ends")
    return secret


Token = Annotated[SecretStr, AfterValidator(_check_no_whitespace)]
Passphrase = Annotated[SecretStr, AfterValidator(without_stray_whitespace)]


def _check_is_text(value: Any) -> Any:
    """Refuse ``false`` and ``10``: Python's ipaddress would read a number as an address."""
    if not isinstance(value, str):
        raise ValueError("must be an address or a network, such as 10.0.0.0/8")  # noqa: TRY004 - pydantic handles ValueError alone
    return value


Network = IPv4Network | IPv6Network


def _check_is_part_of_the_net(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """Refuse networks that together contain every address: no client would be outside of them."""
    of_version_4 = collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    of_version_6 = collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    if 0 in (*(network.prefixlen for network in of_version_4), *(network.prefixlen for network in of_version_6)):
        raise ValueError("must not contain every address: any client would be a trusted proxy")
    return networks


Networks = Annotated[
    tuple[Annotated[IPvAnyNetwork, BeforeValidator(_check_is_text)], ...], AfterValidator(_check_is_part_of_the_net)
]


def empty_if_null(value: Any) -> Any:
    """Return an empty mapping for null: YAML reads a key with nothing below it as null."""
    return {} if value is None else value


class Section(BaseModel):
    """A section of the configuration: unknown keys are mistakes, and no error message quotes a value.

    A section that is null has its defaults, unless its key allows null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _use_defaults_for_null(cls, value: Any) -> Any:
        return empty_if_null(value)
