"""The canary: images that the gateway asks for through its fronts, as users do."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.settings.purge import BaseUrls
from gateway.settings.section import Section, matches

ImageId = Annotated[str, matches(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", "the id of an image")]


class CanarySettings(Section):
    """The fronts, and the ids of a public and a private image. ``every``: seconds between two rounds."""

    via: Annotated[BaseUrls, Field(min_length=1)]
    public: ImageId
    private: ImageId
    every: float = Field(10, ge=1, le=3600)

    @model_validator(mode="after")
    def _require_two_images(self) -> Self:
        if self.public == self.private:
            raise ValueError("private: must be another image than public")
        return self
