"""Content negotiation by ``Accept`` (RFC 9110 section 12.5.1), for the formats that a style lists."""

import re
from collections.abc import Sequence
from typing import Final

from gateway.settings import VariantFormat

# ``type/subtype`` with its parameters. q is the weight, from 0 to 1 with at most three digits (section 12.4.2).
_MEMBER = re.compile(r"\s*([a-z0-9!#$&^_.+*/-]+)\s*((?:;[^,]*)?)", re.IGNORECASE)
_WEIGHT = re.compile(r";\s*q\s*=\s*([^;\s]*)", re.IGNORECASE)
_WEIGHT_VALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_MEDIA_TYPES: Final = {"image/avif": "avif", "image/webp": "webp"}


def choose_format(accept: Sequence[str], formats: Sequence[VariantFormat]) -> VariantFormat:
    """Return the format that the client prefers: the first of ``formats`` among equals, ``original`` if it names none.

    ``accept`` are the lines of the field. ``image/*`` and ``*/*`` do not include AVIF and WebP, because
    clients that cannot decode these send them as well.
    """
    weights = _weights(accept)
    best, best_weight = "original", 0.0
    for candidate in formats:
        weight = weights.get(candidate, 0.0)
        if weight > best_weight:
            best, best_weight = candidate, weight
    return best  # type: ignore[return-value]


def _weights(accept: Sequence[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for line in accept:
        for member in line.split(","):
            found = _MEMBER.fullmatch(member)
            name = _MEDIA_TYPES.get(found[1].lower()) if found is not None else None
            if found is not None and name is not None:
                weights[name] = _weight(found[2])
    return weights


def _weight(parameters: str) -> float:
    """Return the weight among the parameters of a media type: 1 without one, 0 for one that is not valid."""
    found = _WEIGHT.search(parameters)
    if found is None:
        return 1.0
    return float(found[1]) if _WEIGHT_VALUE.fullmatch(found[1]) else 0.0
