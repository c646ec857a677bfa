"""The promise, in one table: how old a row may be by which somebody is answered, in seconds.

The age is the time from the commit that replaced the row to the beginning of the request.
"""

from typing import Final

# A gateway that has heard of a change never answers by an earlier row, whatever Redis, memory and Postgres do.
# Only until Redis has dropped the image, or its time-out is over, it may use what another gateway has put there.
AFTER_HEARING: Final = 0.6

# Nothing has failed for as long as recovery may take.
GATEWAY: Final = 1.0
NGINX: Final = 2.0

# Anything may fail. A gateway trusts rows until six seconds after the sending of a heartbeat that came back.
GATEWAY_AMID_FAULTS: Final = 6.5
# A copy that such a gateway gave to nginx, and nginx's own way of hearing.
NGINX_AMID_FAULTS: Final = 8.0

# While no row can be read, a gateway sends what it has, unless it knows that the row has changed, and nginx keeps none
# of it. It may do so for some time after rows can be read again, until it listens again and reads a row.
UNREADABLE: Final = 12.0
# nginx uses no copy when gateways have answered for so long, and none completely.
NGINX_IN_DOUBT: Final = 4.5
# nginx says that no gateway tells it all changes.
NGINX_WITHOUT_ANSWER: Final = 3600.0

# An answer by a row that could not be read is kept for five seconds, and caches count whole seconds.
UNREAD: Final = 6.0
# A CDN is purged 2.5 seconds after a gateway that reaches Redis has heard, and again nine seconds after that, when the
# leases of then have ended. Each look at the queue may be a second late.
PURGED: Final = 4.0
PURGED_AMID_FAULTS: Final = 13.0
# A gateway sends purges when it has reached Redis for so long, or frees those that it claimed as it did not.
PURGES_AGAIN: Final = 8.0
# From when a purge is due, or free again, until it is sent.
PURGE_SENT: Final = 3.0

# That an image does not exist is remembered for three seconds, because a new row is not notified.
MISSING: Final = 3.5

# After the last fault: everything is heard, and caches are used again.
RECOVERY: Final = 25.0
# An answer, of whatever kind, unless the process that is asked is paused.
ANSWER: Final = 70.0
