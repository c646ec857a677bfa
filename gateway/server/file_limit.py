"""How many sockets the process may have."""

import logging
import resource
import sys
from typing import Final, NamedTuple

logger = logging.getLogger(__name__)

# A streamed image has two: to its client, and to COS.
_FOR_EACH_STREAM: Final = 2
_REDIS: Final = 64  # as many as its pool opens at most
_ADMIN: Final = 16  # Prometheus, health checks, an operator
_OWN: Final = 32  # standard streams, the loop, the ports, LISTEN, SUBSCRIBE, key sets, files of the moment
# Redis and Postgres, the ports, and clients between two requests.
_BESIDE: Final = 256


def raise_nofile_limit(max_streams: int) -> None:
    """Raise the limit of open files as far as the process may; warn if so many streams are more than it lets through.

    Shells and service managers give 1024 and let a process that needs more have it: the rest of the limit is there for
    programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FOR_EACH_STREAM * max_streams + _BESIDE
    wanted = hard if hard != resource.RLIM_INFINITY else needed
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError) as error:  # some systems allow less than their own limit says
            logger.debug("the limit of open files stays: limit=%s reason=%s", soft, error)
    if soft != resource.RLIM_INFINITY and soft < needed:
        logger.warning(
            "too few open files for server.max_streams, lower it or raise the hard limit (ulimit -Hn, LimitNOFILE): "
            "limit=%s needed=%s",
            soft,
            needed,
        )


class ConnectionBudget(NamedTuple):
    """How many connections of clients each port may have open."""

    public: int
    admin: int


def connection_budget(max_streams: int, pool_size: int) -> ConnectionBudget:
    """Divide the limit of open files, as it is now.

    Redis, Postgres (``pool_size``), the admin port and the process itself have their share first, then each stream's
    connection to COS. Where that is not enough for ``max_streams``, clients and COS get half of the rest each: a
    connection has one request at a time.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return ConnectionBudget(sys.maxsize, sys.maxsize)
    rest = limit - _OWN - _REDIS - pool_size - _ADMIN
    return ConnectionBudget(max(1, rest - min(max_streams, rest // 2)), _ADMIN)
