"""Faults of the metadata and STS services."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Service = Literal["metadata", "sts"]


class CredentialFault(BaseModel):
    """What goes wrong with the next ``times`` requests; ``times`` null: with every one.

    ``hang``: no answer. ``garbage``: status 200 and a page of HTML. ``error``: a refusal inside a 200.
    ``internal_error``: an empty answer with status 500. ``expired``: credentials that have ended. ``another_role``: the
    instance has lost its role for one called other (of ``metadata`` alone).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["hang", "garbage", "error", "internal_error", "expired", "another_role"]
    service: Service | None = None
    """The service it is for; None: both."""
    times: Annotated[PositiveInt | None, Field()] = 1


class CredentialFaults:
    """Active faults in the order they were added; the first that applies to a request fires."""

    def __init__(self) -> None:
        self._active: list[tuple[CredentialFault, int]] = []

    def add(self, fault: CredentialFault) -> None:
        """Activate a fault."""
        self._active.append((fault, 0))

    def clear(self) -> None:
        """Remove all faults; requests that hang go on hanging."""
        self._active.clear()

    def fire(self, service: Service) -> str | None:
        """Count a request; return the kind of the fault that applies to it, None without one."""
        for number, (fault, fired) in enumerate(self._active):
            if fault.service in (None, service) and (fault.times is None or fired < fault.times):
                self._active[number] = fault, fired + 1
                return fault.kind
        return None
