"""What the sections are made of: their base, and the kinds of values that several of them hold."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyNetwork

WEEK = 7 * 24 * 3600

UrlLife = Annotated[int, Field(ge=1, le=WEEK)]
Timeout = Annotated[float, Field(gt=0, le=3600)]
Networks = tuple[IPvAnyNetwork, ...]


def matches(pattern: str, meaning: str) -> AfterValidator:
    """A string that matches the whole of ``pattern``; ``meaning`` completes the sentence "must be …"."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")
        return value

    return AfterValidator(check)


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, and no mistake quotes the value it is about."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
