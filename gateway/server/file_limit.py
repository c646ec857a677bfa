"""The limit of open files: raise it, and divide it."""

import logging
import resource
import sys
from typing import Final

logger = logging.getLogger(__name__)

_PER_STREAM: Final = 2  # the connection to the client and the one to COS
_REDIS: Final = 64  # the size of its connection pool
ADMIN_CONNECTIONS: Final = 16  # Prometheus, health checks, an operator
_PROCESS: Final = 32  # standard streams, event loop, ports, LISTEN, SUBSCRIBE, key sets, files that are open briefly
_RESERVE: Final = 256  # Redis, Postgres, the ports, and idle connections of clients


def raise_nofile_limit(max_streams: int) -> None:
    """Raise the soft limit of open files to the hard limit. Warn if that is too low for ``max_streams``.

    Shells and service managers set a soft limit of 1024 only for programs that use select(2), and leave the hard limit
    for programs that need more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = needed_files(max_streams)
    target = hard if hard != resource.RLIM_INFINITY else needed
    if soft != resource.RLIM_INFINITY and soft < target:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft = target
        except (OSError, ValueError) as error:  # some systems allow less than their hard limit
            logger.debug("cannot raise the limit of open files: limit=%s reason=%s", soft, error)
    if soft != resource.RLIM_INFINITY and soft < needed:
        logger.warning(
            "too few open files for server.max_streams, lower it or raise the hard limit (ulimit -Hn, LimitNOFILE): "
            "limit=%s needed=%s",
            soft,
            needed,
        )


def needed_files(max_streams: int) -> int:
    """Return how many open files the process needs at most."""
    return _PER_STREAM * max_streams + _RESERVE


def hard_limit() -> int | None:
    """Return the hard limit of open files. None: no limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard if hard != resource.RLIM_INFINITY else None


def public_connections(max_streams: int, pool_size: int) -> int:
    """Return how many client connections the public port may have open by the current limit of open files.

    Redis, Postgres (``pool_size``), the admin port and the process itself get their share first, then each stream's
    connection to COS. If the rest is too small for ``max_streams``, clients and COS get half of it each: a client
    connection has one request at a time.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    rest = limit - _PROCESS - _REDIS - pool_size - ADMIN_CONNECTIONS
    return max(1, rest - min(max_streams, rest // 2))
