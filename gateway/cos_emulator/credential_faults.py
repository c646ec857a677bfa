"""Faults of the metadata and STS services."""

from typing import Literal

from gateway.cos_emulator.service_faults import ServiceFault

Service = Literal["metadata", "sts"]


class CredentialFault(ServiceFault):
    """A fault of requests to ``service``. None: to both services.

    Kinds besides those that every service knows:

    - ``error``: a refusal inside a 200.
    - ``expired``: credentials that have ended.
    - ``another_role``: the instance has lost its role for a role called other (of ``metadata`` alone).
    """

    kind: Literal["hang", "garbage", "error", "internal_error", "expired", "another_role"]
    service: Service | None = None

    def is_for(self, service: Service) -> bool:
        """Return whether the fault is for requests to ``service``."""
        return self.service in (None, service)
