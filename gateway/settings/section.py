"""What the sections are made of: their base, and the kinds of values that several of them hold."""

import re
from typing import Annotated, Any

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

UrlLife = Annotated[int, Field(ge=1, le=WEEK)]
Timeout = Annotated[float, Field(gt=0, le=3600)]


def matches(pattern: str, meaning: str) -> AfterValidator:
    """A string that matches the whole of ``pattern``; ``meaning`` completes the sentence "must be …"."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")
        return value

    return AfterValidator(check)


def _without_whitespace(secret: SecretStr) -> SecretStr:
    """Refuse a secret that was pasted with a space or a line break: no client could send it, or COS knows another."""
    if re.search(r"\s", secret.get_secret_value()):
        raise ValueError("must not contain spaces or line breaks")
    return secret


def without_stray_whitespace(secret: SecretStr) -> SecretStr:
    """Refuse a line break, and a space at either end; one between words may be meant."""
    value = secret.get_secret_value()
    if value != value.strip() or len(value.splitlines()) > 1:
        raise ValueError("must not contain line breaks, or spaces at its ends")
    return secret


Token = Annotated[SecretStr, AfterValidator(_without_whitespace)]
Passphrase = Annotated[SecretStr, AfterValidator(without_stray_whitespace)]


def _as_text(given: Any) -> Any:
    """A number is an address, too, to Python; nobody who writes ``false`` or ``10`` means one."""
    if not isinstance(given, str):
        raise ValueError("must be an address or a network, such as 10.0.0.0/8")  # noqa: TRY004 - pydantic wants it so
    return given


Networks = tuple[Annotated[IPvAnyNetwork, BeforeValidator(_as_text)], ...]


def empty_if_null(given: Any) -> Any:
    """What YAML reads as null, a key with nothing below it, is a section without keys."""
    return {} if given is None else given


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, and no mistake quotes the value it is about.

    One that is null has its defaults, unless null is a value of the key that holds it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _has_its_defaults_when_it_is_null(cls, given: Any) -> Any:
        return empty_if_null(given)
