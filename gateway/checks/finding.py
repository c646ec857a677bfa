"""The result of one try of ``check``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one try of ``gateway check``, such as a query of Postgres, with advice to the operator."""

    name: str
    is_well: bool
    what: str
    advice: str = ""  # empty when nothing is to be done
    is_warning: bool = False  # the gateway works, but not as well as it should; ``is_well`` is then true
    stops_start: bool = False  # who starts now serves nothing new until the configuration or a grant changes


def warning(name: str, what: str, advice: str) -> Finding:
    """Return a finding that does not fail the check."""
    return Finding(name, True, what, advice, is_warning=True)
