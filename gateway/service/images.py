"""The part that answers requests for images: authorizes the caller, then streams, redirects or hands over to nginx."""

from dataclasses import dataclass

from gateway.access.identity import Authenticator
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.image_handler import Counts, ImageHandler, ImageMemory
from gateway.api.urls import UrlHandler
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.decision import KeptFor, Rules
from gateway.delivery.nginx_decisions import Decisions
from gateway.delivery.nginx_files import NginxFiles
from gateway.delivery.parameters import VariantRequests
from gateway.delivery.redirect import ImageRedirect
from gateway.delivery.relay import Relay
from gateway.service.access import Access
from gateway.service.metrics import Metrics
from gateway.service.objects import Objects
from gateway.service.signing import Signing
from gateway.service.urls import Urls
from gateway.settings import Live, Settings


@dataclass(frozen=True, slots=True)
class Images:
    """``lookup`` resolves images and checks access in one step. The two handlers answer requests."""

    objects: Objects
    lookup: AuthorizedLookup
    variant_requests: VariantRequests
    decisions: Decisions
    handler: ImageHandler
    url_handler: UrlHandler
    nginx_files: NginxFiles


def make_images(
    live: Live[Settings], metrics: Metrics, access: Access, signing: Signing, urls: Urls, objects: Objects
) -> Images:
    """Return the part. It has nothing to open."""
    settings = live.value
    image_proxy, renditions = settings.image_proxy, signing.renditions
    lookup = AuthorizedLookup(urls.resolver, access.authenticator, renditions)
    variant_requests = VariantRequests(renditions, live.map(lambda settings: settings.image_variants))
    access_settings = live.map(lambda settings: settings.access)
    decisions = Decisions(access_settings, signing.lifetime, signing.clock)
    nginx_files = NginxFiles(image_proxy.delivery, image_proxy.accel_prefix, metrics.nginx)
    handler = ImageHandler(
        image_rules(live, access, signing, decisions.on_image),
        ImageMemory(urls.resolver, objects.source, objects.refused),
        access.client_address,
        variant_requests,
        Relay(metrics.sent_bytes),
        Counts(urls.usage, metrics.sent_bytes, metrics.origin.variants, nginx_files.accel_not_configured),
    )
    return Images(
        objects,
        lookup,
        variant_requests,
        decisions,
        handler,
        UrlHandler(lookup, urls.usage, signing.public_urls),
        nginx_files,
    )


def image_rules(
    live: Live[Settings], access: Access, signing: Signing, kept_for: KeptFor = lambda *_: 0
) -> Live[Rules]:
    """Return the rules of requests for images. ``kept_for``: for how long nginx may repeat an order."""
    redirect = ImageRedirect(signing.lifetime, signing.public_urls, signing.clock.ahead)

    def rules(settings: Settings) -> Rules:
        policy, most = cache_policy(access.authenticator, settings), settings.server.max_streams
        authenticator, renditions = access.authenticator, signing.renditions
        return Rules(settings.image_proxy, policy, most, authenticator, renditions, redirect, kept_for)

    return live.map(rules)


def cache_policy(authenticator: Authenticator, settings: Settings) -> CachePolicy:
    """Return how long caches keep images, what private images vary by, and whether public images have a purge tag."""
    image_proxy = settings.image_proxy
    return CachePolicy(
        image_proxy.max_age,
        authenticator.varies_by,
        has_tags=settings.purge is not None,
        shared_max_age=image_proxy.shared_max_age,
        stale_while_revalidate=image_proxy.stale_while_revalidate,
        stale_if_error=image_proxy.stale_if_error,
    )
