"""What the canary asks, through the fronts as users do. A process reads these modules if it has the section."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from gateway.access.canary_mark import CanaryMark
from gateway.access.signed_links import short_address
from gateway.canary.canary import AnswersOfFronts, Ask, Canary, Question, Step
from gateway.canary.change import NewBytesProbe, UnfitRow
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
from gateway.service.stores import Stores
from gateway.settings import CanarySettings, Live, Settings

_LINK_LIFE: Final = 60  # seconds
_LONGEST_TOKEN: Final = 8192  # characters
_TAKEN_BY_SOME: Final = {"avif", "webp"}  # formats of images
_PAUSE: Final = 5.0  # seconds after which a check that begins to fail is asked again, at most half a round
_CHANGES: Final = 6  # rounds between two changes
_CHANGE_WITHIN: Final = 3  # rounds until the bytes of a change must have come


@dataclass(frozen=True, slots=True)
class CanaryImages:
    """What is known of the canary's images, from Postgres and COS."""

    catalog: PostgresCatalog
    signing: Signing
    origin: OriginClient

    async def known(self, image_id: str) -> tuple[Known, str | None, int | None]:
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

    async def changing(self, image_id: str) -> Known:
        """Return what is known of the image that changes. Raises ``UnfitRow`` if that shows nothing of fronts."""
        known, _, _ = await self.known(image_id)
        if known.row != "public":
            raise UnfitRow(f"the row of canary.change.id is {known.row}; it must be public")
        if known.etag is None:
            raise UnfitRow("COS does not give the object of canary.change.id")
        return known

    async def touch(self) -> None:
        """Give the row that changes its other key. Raises ``UnfitRow`` without the function, or without a row."""
        try:
            key = await self.catalog.touch_canary()
        except CatalogUnavailable as error:
            what = f"image_gateway_touch() failed: {error}; run what `image-gateway-admin sql canary` prints"
            raise UnfitRow(what) from error
        if key is None:
            raise UnfitRow("image_gateway_touch() changed no row; run what `image-gateway-admin sql canary` prints")


@dataclass(frozen=True, slots=True)
class CanaryQuestions:
    """Lists the canary's requests for its two images, and what the answers should be.

    live: has the keys of links and the name of the cookie with a token, which a reload may change.
    """

    settings: CanarySettings
    images: CanaryImages
    live: Live[Settings]

    async def __call__(self) -> Sequence[Question]:
        public, at_public, _ = await self.images.known(self.settings.public)
        private, at_private, killed = await self.images.known(self.settings.private)
        # While only owners get originals, others are sent the first style.
        renditions = self.images.signing.renditions.value
        style = renditions.query(renditions.names[0] if renditions.originals_for_owner and renditions.names else None)
        if style:
            public, private = Known(public.row), Known(private.row)
        shown, hidden = short_address(self.settings.public), short_address(self.settings.private)
        questions = [
            Question("public", [Step(_with(shown, style)), *self._of_formats(shown)], public, at_public),
            Question("private_anonymous", [Step(hidden)], private),
        ]
        if (links := signed_links(Live(self.live.value))) is not None:  # of a copy: nothing stays that watches it
            link, _ = links.make(hidden, expires_in=_LINK_LIFE, links_killed=killed)
            questions.append(Question("private_link", [Step(_with(link, style))], private, at_private))
        if self.settings.token_file is not None:
            token = await asyncio.to_thread(_token, self.settings.token_file)
            problem = "" if token else "the canary is wrong: canary.token_file has no token that can be read"
            steps = self._of_token(_with(hidden, style), style, token)
            questions.append(Question("private_token", steps, private, at_private, problem))
        return questions

    def _of_formats(self, address: str) -> list[Step]:
        """Return two requests of one address, by a browser that takes a style's format, and by one that does not."""
        renditions = self.images.signing.renditions.value
        found = next(
            (rendition for rendition in map(renditions.get, renditions.names) if rendition.format in _TAKEN_BY_SOME),
            None,
        )
        if not renditions.negotiates or found is None:
            return []
        negotiated = f"{address}?style={found.style}&w={found.width}&format=auto"
        accepted = (f"image/{found.format},image/png", "image/png")
        return [Step(negotiated, {"Accept": accept}) for accept in accepted]

    def _of_token(self, address: str, style: str, token: str) -> list[Step]:
        """Return requests without, with, and again without the token, by another name, and with the cookie."""
        another_name = _with(f"/api/v1/images/{self.settings.private}/proxy", style)
        by_header = {"Authorization": f"Bearer {token}"}
        steps = [Step(address), Step(address, by_header), Step(address), Step(another_name, by_header)]
        jwt = self.live.value.access.jwt
        cookie = jwt.cookie if jwt is not None else None
        return steps if cookie is None else [*steps, Step(another_name, {"Cookie": f"{cookie}={token}"})]


def _token(path: Path) -> str:
    """Return the token of a file. Empty if there is none. Blocks."""
    try:
        with path.open(encoding="ascii") as file:
            token = file.read(_LONGEST_TOKEN + 1).strip()
    except (OSError, ValueError):
        return ""
    return token if len(token) <= _LONGEST_TOKEN and token.isprintable() and " " not in token else ""


def make_canaries(
    live: Live[Settings], metrics: Metrics, signing: Signing, stores: Stores, origin: OriginClient, client: FrontClient
) -> list[Canary]:
    """Return what asks the fronts: for answers, and if it is configured for a change. The caller opens ``client``."""
    settings = live.value.canary
    if settings is None:
        return []
    asks_alone = worker_number() in (None, 1)  # of several workers, the first
    images = CanaryImages(stores.catalog, signing, origin)
    questions = CanaryQuestions(settings, images, live)
    errors, redis = metrics.registry.background_errors, stores.redis

    def canary(part: str, every: float, ask: Ask, pause: float | None = None) -> Canary:
        rounds = CanaryRounds(redis.shards, settings, part) if redis is not None else None
        return Canary(part, every, ask, rounds, metrics.canary, errors, asks_alone=asks_alone, pause=pause)

    pause = min(_PAUSE, settings.every / 2)
    canaries = [canary("answers", settings.every, AnswersOfFronts(settings.via, questions, client).ask, pause)]
    if (change := settings.change) is not None:
        known, within = partial(images.changing, change.id), settings.every * _CHANGE_WITHIN
        # No pause: it asks for so long anyway, and a second change would bring back the bytes that a front has kept.
        probe = NewBytesProbe(settings.via, short_address(change.id), known, images.touch, client, within)
        canaries.append(canary("change", settings.every * _CHANGES, probe.ask))
    return canaries


@asynccontextmanager
async def asking(
    live: Live[Settings], metrics: Metrics, signing: Signing, stores: Stores, origin: OriginClient, mark: CanaryMark
) -> AsyncIterator[None]:
    """Ask in the background, as the settings of now say."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_front_client(mark.make))
        for canary in make_canaries(live, metrics, signing, stores, origin, client):
            await stack.enter_async_context(background(f"canary-{canary.part}", canary.run()))
        yield


def _with(address: str, query: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}{query}" if query else address
