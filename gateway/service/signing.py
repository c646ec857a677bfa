"""The part that presigns URLs: COS's clock, the credentials of each bucket, hosts, styles, the life of a URL."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial

from gateway.errors import ConfigurationRefused
from gateway.presign.credentials.rotation import BucketCredentials, open_credentials
from gateway.presign.hosts import Hosts
from gateway.presign.metrics import PresignMetrics
from gateway.presign.public_url import PublicUrls
from gateway.presign.signer import Signer
from gateway.presign.style_variants import Renditions
from gateway.presign.url_lifetime import CosClock, Lifetime
from gateway.process.reloader import Replaceable
from gateway.settings import Live, Settings


class Signing:
    """The clock of COS, and the signer of presigned URLs with the objects that it uses.

    opened: the sources of credentials that are open.
    credentials: the newest of each bucket. Others hold the object: a reload replaces its content.
    """

    def __init__(
        self, live: Live[Settings], metrics: PresignMetrics, clock: CosClock, opened: Replaceable[BucketCredentials]
    ) -> None:
        settings, url_cache = live.value, live.map(lambda settings: settings.url_cache)
        self.metrics, self.clock, self.opened, self.credentials = metrics, clock, opened, opened.value
        self.lifetime = lifetime = Lifetime(url_cache, live.map(lambda settings: settings.url_prerefresh))
        self.hosts = Hosts(settings.cos)
        self.renditions = renditions = Live(Renditions(settings.image_styles, settings.image_variants))
        live.watch(partial(_replace_renditions, renditions))
        newest_of = opened.value.of
        self.signer = Signer(newest_of, self.hosts, url_cache, renditions=renditions, metrics=metrics, now=clock.now)
        strict = settings.cos.strict_buckets
        self.public_urls = PublicUrls(self.signer, lambda url: lifetime.is_usable(url, clock.now()), strict)

    @asynccontextmanager
    async def prepare(self, old: Settings, new: Settings) -> AsyncIterator[Callable[[], None]]:
        """Ask the new sources of credentials, for three seconds. Refuse a source that gives no credentials."""
        if old.cos == new.cos:
            yield lambda: None
            return
        try:
            async with aclosing(await Replaceable.open(_open_credentials(new, self.metrics, self.clock))) as successor:
                for source in successor.value.all:
                    if source.newest is None:
                        reason = f"the source {source.name} gives none: {source.reason}"
                        raise ConfigurationRefused(f"cos.credentials: {reason}")

                def apply() -> None:
                    self.opened.swap(successor)
                    self.credentials.replace(self.opened.value)

                yield apply
        finally:
            self.credentials.show_ends()


@asynccontextmanager
async def open_signing(live: Live[Settings], metrics: PresignMetrics) -> AsyncIterator[Signing]:
    """Keep the credentials of each bucket fresh, by COS's clock."""
    clock = CosClock()
    metrics.cos_clock_difference.set_function(lambda: clock.observed_offset)
    metrics.cos_clock_offset.set_function(lambda: clock.offset)
    async with aclosing(await Replaceable.open(_open_credentials(live.value, metrics, clock))) as opened:
        yield Signing(live, metrics, clock, opened)


def _open_credentials(
    settings: Settings, metrics: PresignMetrics, clock: CosClock
) -> AbstractAsyncContextManager[BucketCredentials]:
    cos = settings.cos
    return open_credentials(cos.source, cos.regions, metrics, own=cos.own_sources, clock=clock)


def _replace_renditions(renditions: Live[Renditions], old: Settings, new: Settings) -> None:
    if (old.image_styles, old.image_variants) != (new.image_styles, new.image_variants):
        renditions.replace(Renditions(new.image_styles, new.image_variants, renditions.value))
