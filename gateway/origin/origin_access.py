"""The collaborators of every ``ObjectBody``: the client, the remembered failures, and the renewal of URLs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.metrics.collectors import Metrics
from gateway.origin.client import OriginClient
from gateway.origin.failed_objects import FailedObjects
from gateway.origin.resumption import ResumptionLimits
from gateway.presign.signed_image import ObjectId, PresignedUrl, SignedImage

# Renews the URL of the image. The float is COS's time in Unix seconds if it may explain the refusal, else None.
Renew = Callable[[SignedImage, float | None], Awaitable[SignedImage]]
SignForHead = Callable[[SignedImage], PresignedUrl]


@dataclass(slots=True)
class OriginAccess:
    """Collaborators of every ``ObjectBody``.

    ``failures`` raises COS's last error instead of sending a request while it remembers one. ``gone`` is called when
    COS does not have the object, or may not serve it.
    """

    client: OriginClient
    failures: FailedObjects
    gone: Callable[[ObjectId], None]
    renew: Renew
    sign_for_head: SignForHead
    metrics: Metrics
    resumption: ResumptionLimits
