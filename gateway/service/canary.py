"""The part of the canary, which asks for images through the fronts as users do. It is absent without ``canary``."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

from gateway.access.canary_mark import CanaryMark
from gateway.access.signed_links import SignedLinks, short_address
from gateway.canary.canary import Canary, Question
from gateway.canary.client import FrontClient, open_front_client
from gateway.canary.rules import Known
from gateway.catalog.postgres import PostgresCatalog
from gateway.concurrency.background import background
from gateway.errors import CatalogUnavailable, CredentialsExpired, OriginUnavailable
from gateway.origin.client import OriginClient
from gateway.process.logs import worker_number
from gateway.redis_replicas.canary_rounds import CanaryRounds
from gateway.service.access import signed_links
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing
from gateway.service.stores import Stores, entry_secrets
from gateway.settings import CanarySettings, Live, Settings

_LINK_LIFE = 60  # seconds


@dataclass(frozen=True, slots=True)
class CanaryQuestions:
    """Lists the canary's requests for its two images, and what the answers should be. ``links`` signs links."""

    settings: CanarySettings
    catalog: PostgresCatalog
    signing: Signing
    origin: OriginClient
    links: SignedLinks | None

    async def __call__(self) -> Sequence[Question]:
        public, at_public, _ = await self._known(self.settings.public)
        private, at_private, killed = await self._known(self.settings.private)
        # While only owners get originals, others are sent the first style.
        renditions = self.signing.renditions.value
        style = renditions.query(renditions.names[0] if renditions.originals_for_owner and renditions.names else None)
        if style:
            public, private = Known(public.row), Known(private.row)
        hidden = short_address(self.settings.private)
        questions = [
            Question("public", _with(short_address(self.settings.public), style), public, at_public),
            Question("private_anonymous", hidden, private),
        ]
        if self.links is not None:
            link, _ = self.links.make(hidden, expires_in=_LINK_LIFE, links_killed=killed)
            questions.append(Question("private_link", _with(link, style), private, at_private))
        return questions

    async def _known(self, image_id: str) -> tuple[Known, str | None, int | None]:
        """Return what is known of the image, the base of its URLs at COS, and how often its links were killed."""
        try:
            row = await self.catalog.inspect(image_id)
        except CatalogUnavailable:
            return Known("unknown"), None, None
        if row is None:
            return Known("missing"), None, None
        if row.record is None or row.reason is not None:
            return Known("not served"), None, None
        record, length, etag = row.record, None, None
        base = self.signing.hosts.origin_of(record.bucket, record.region).base
        try:
            answer = await self.origin.diagnose(self.signing.signer.sign(record).url)
        except (OriginUnavailable, CredentialsExpired):  # COS has a light of its own
            pass
        else:
            if answer.is_success:
                length, etag = answer.metadata.size, answer.metadata.strong_etag
        return Known("public" if record.public else "private", length, etag), base, record.links_killed


def make_canary(
    live: Live[Settings], metrics: Metrics, signing: Signing, stores: Stores, origin: OriginClient, client: FrontClient
) -> Canary | None:
    """Return the canary, or None without ``canary``. The caller opens ``client``."""
    configured = live.value.canary
    if configured is None:
        return None
    asks_alone = worker_number() in (None, 1)  # of several workers, the first
    questions = CanaryQuestions(configured, stores.catalog, signing, origin, signed_links(live))
    mark, errors = CanaryMark(live.map(shared_secret)), metrics.registry.background_errors
    rounds = CanaryRounds(stores.redis.shards, configured) if stores.redis is not None else None
    return Canary(configured, questions, client, mark, rounds, metrics.canary, errors, asks_alone=asks_alone)


@asynccontextmanager
async def open_canary(
    live: Live[Settings], metrics: Metrics, signing: Signing, stores: Stores, origin: OriginClient
) -> AsyncIterator[Canary | None]:
    """Ask in the background. None without ``canary``."""
    async with open_front_client() as client:
        canary = make_canary(live, metrics, signing, stores, origin, client)
        async with background("canary", canary.run()) if canary is not None else nullcontext():
            yield canary


def _with(address: str, query: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}{query}" if query else address


def shared_secret(settings: Settings) -> str:
    """Return the secret that all gateways share. Without one, other gateways count this canary as a user."""
    try:
        return entry_secrets(settings.redis, settings.cos)[0]
    except ValueError:
        return secrets.token_hex()
