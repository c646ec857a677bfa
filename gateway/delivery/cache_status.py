"""The Cache-Status field: how an answer came about (RFC 9211)."""

_CACHE = "image-gateway"


def hit(freshness: float) -> str:
    """From memory, without asking COS; ``freshness`` in seconds is negative for what is stale (section 2.5)."""
    return f"{_CACHE}; hit; ttl={int(freshness)}"


def forwarded(status: int, stored: bool = False, collapsed: bool = False, had_stale: bool = False) -> str:
    """COS was asked and answered ``status`` (sections 2.2 to 2.8).

    ``collapsed``: for several requests at once; ``had_stale``: since what was known had become old.
    """
    reason = "stale" if had_stale else "miss"
    more = f"{'; stored' if stored else ''}{'; collapsed' if collapsed else ''}"
    return f"{_CACHE}; fwd={reason}; fwd-status={status}{more}"


def revalidated(status: int | None) -> str:
    """From memory, after COS was asked about it; ``status`` None when it failed to answer (RFC 5861 section 4)."""
    if status is None:
        return f"{_CACHE}; fwd=stale; detail=stale-if-error"
    return f"{_CACHE}; fwd=stale; fwd-status={status}"
