"""How the gauges of several workers become one: a rule for each."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

Rule = Callable[[Sequence[float]], float]


def farthest(values: Sequence[float]) -> float:
    """Return the value that is farthest from 0."""
    return max(values, key=abs)


# What each worker has for itself adds up. What all read in one place is the same but for its age: the worst one counts.
RULES: Final[Mapping[str, Rule]] = {
    "image_gateway_inflight_requests": math.fsum,
    "image_gateway_client_connections": math.fsum,
    "image_gateway_memory_cache_bytes": math.fsum,
    "image_gateway_build_info": max,
    "image_gateway_credentials_expire_timestamp_seconds": min,
    "image_gateway_cos_clock_offset_seconds": farthest,
    "image_gateway_cos_clock_difference_seconds": farthest,
    "image_gateway_change_trigger_installed": min,
    "image_gateway_change_feed_connected": min,
    "image_gateway_config_last_reload_successful": min,
    "image_gateway_config_last_reload_success_timestamp_seconds": min,
    "image_gateway_dependency_up": min,
    "image_gateway_invalidation_receivers": min,
    "image_gateway_nginx_asked_seconds": min,
    "image_gateway_refresh_queue_length": max,
    "image_gateway_refresh_due": max,
    "image_gateway_refresh_dead": max,
    "image_gateway_refresh_lag_seconds": max,
    "image_gateway_refresh_last_success_timestamp_seconds": max,
    "image_gateway_purge_queue_length": max,
    "image_gateway_purge_dead": max,
    "image_gateway_purge_lag_seconds": max,
}


def rule_of(name: str) -> Rule:
    """Return the rule of a gauge. Of ``_created``, the time since when a counter counts, the oldest is taken."""
    return RULES.get(name, min if name.endswith("_created") else max)


def merged(rule: Rule, values: Sequence[float]) -> float:
    """Return a single value. NaN (not known) counts only where every worker has it."""
    known = [value for value in values if not math.isnan(value)]
    return float(rule(known)) if known else math.nan
