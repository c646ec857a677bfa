"""The picture that replaces an image in error responses."""

from typing import Annotated

from pydantic import Field

from gateway.settings.section import Section

ErrorStatus = Annotated[int, Field(ge=400, le=599)]


class FallbackSettings(Section):
    """The picture's file, and the statuses of the errors that it replaces.

    The file is read when the gateway starts, not when the settings are validated.
    """

    path: str = Field(min_length=1)
    statuses: tuple[ErrorStatus, ...] = Field((404, 502, 503, 504), min_length=1)
