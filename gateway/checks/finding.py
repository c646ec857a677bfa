"""The result of one try of ``check``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a try. ``advice`` is empty when nothing is to be done.

    ``is_warning``: the gateway works, but not as well as it should. ``is_well`` is then true.
    ``stops_start``: a gateway that starts now can serve nothing new until its configuration or a grant changes.
    """

    name: str
    is_well: bool
    what: str
    advice: str = ""
    is_warning: bool = False
    stops_start: bool = False


def warning(name: str, what: str, advice: str) -> Finding:
    """Return a finding that does not fail the check."""
    return Finding(name, True, what, advice, is_warning=True)
