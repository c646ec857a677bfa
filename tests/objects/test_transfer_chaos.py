"""Many readers of few objects, which join, leave, are slow or cancelled, on an origin that fails.

Seeded, so the same in every run. Time passes in turns of the event loop alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import cast

from fastcrc import crc64

from gateway.catalog.record import ImageRecord
from gateway.errors import GatewayError, ImageNotFound, OriginUnavailable
from gateway.objects.object_body import OriginAccess
from gateway.objects.object_cache import ObjectCache
from gateway.objects.object_source import ObjectSource, Reader
from gateway.objects.transfer_state import BufferLimits, ResumptionLimits
from gateway.objects.variant_source import RefusedVariants, VariantSource
from gateway.origin.client import ObservedAnswers, OriginClient
from gateway.origin.cos_errors import BodyLost, CosError, ObjectReplaced, PresignedUrlRefused, RowChanged
from gateway.origin.failures import FailedObjects
from gateway.origin.origin_response import AnswerHead, ContentRange, ObjectMetadata
from gateway.presign.signer import AuthorizedImage, PresignedUrl, SignedImage
from gateway.presign.style_variants import Renditions
from gateway.service.metrics import Metrics
from gateway.settings import Live, MemoryCacheSettings
from tests.heard_changes import quiet_log
from tests.limits import LIMIT
from tests.signed_images import signed_image

# Of kilobytes, so that readers of small bodies get to their ends.
LIMITS = BufferLimits(window=3000, whole=1950, alone=800, at_once=300, shared_prefixes=4000)
PROGRESS = 500
KEPT = MemoryCacheSettings(max_bytes=4000, max_object_bytes=2000)
SIZES = (0, 1, 250, 1000, 1900, 6000)
SEEDS = range(150)


@dataclass
class Version:
    """An object as it is at one time."""

    data: bytes
    etag: str | None
    has_length: bool = True


class Answer:
    """Replacement of ``OriginResponse``: an open response that may break off at ``lost_at``."""

    def __init__(self, chaos: "Chaos", version: Version, first: int | None, lost_at: int | None) -> None:
        self._chaos = chaos
        self._data = version.data
        is_part, first = first is not None, first or 0
        self._position = first
        self._lost_at = lost_at
        self._is_over = False
        self.is_closed = False
        size = len(version.data)
        announced = size if version.has_length or is_part else None
        self.head = AnswerHead(
            206 if is_part else 200,
            ObjectMetadata(announced, version.etag, None, "image/png", None),
            size - first if announced is not None else None,
            ContentRange(first, size - 1, size) if is_part else None,
            crc64.xz(version.data),
        )

    @property
    def is_given_back(self) -> bool:
        """Whether its connection is free: the body was read to its end, or closed."""
        return self.is_closed or self._position == len(self._data) or self._is_over

    async def read(self) -> bytes:
        assert not self.is_closed or self._lost_at is not None, "read after it was closed"
        if self.is_closed:
            raise BodyLost("closed")
        await self._chaos.pass_time(4)
        return self._next(must_bring=True)

    def read_nowait(self) -> bytes:
        return self._next(must_bring=False)

    def _next(self, *, must_bring: bool) -> bytes:
        if self._lost_at is not None and self._position >= self._lost_at:
            if not must_bring:
                return b""
            self.is_closed = True
            raise BodyLost(f"after {self._position}")
        end = self._position + self._chaos.random.randrange(1, 400)
        if self._lost_at is not None:
            end = min(end, self._lost_at)
        piece = self._data[self._position : end]
        self._position += len(piece)
        self._is_over = not piece
        return piece

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Chaos:
    """An origin, and the faults that may happen."""

    seed: int
    losses: int = 0  # bodies that may break off
    failures: int = 0  # requests that may fail
    changes: int = 0  # times that an object may become another
    random: Random = field(init=False)
    objects: dict[str, list[Version]] = field(default_factory=dict)  # the last is the one that is
    answers: list[Answer] = field(default_factory=list)
    observed: ObservedAnswers = field(default_factory=lambda: ObservedAnswers(Metrics().origin))

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - the same in every run
        for key in "abc":
            self.objects[key] = [self._version()]

    def _version(self) -> Version:
        data = self.random.randbytes(self.random.choice(SIZES))
        has_etag = self.random.random() < 0.9
        return Version(data, f'"{self.random.random()}"' if has_etag else None, self.random.random() < 0.9)

    async def pass_time(self, most: int) -> None:
        """Give other tasks some turns of the loop."""
        for _ in range(self.random.randrange(most)):
            await asyncio.sleep(0)

    def change(self, key: str) -> None:
        """Replace the object by another version."""
        self.objects[key].append(self._version())

    async def fetch(
        self, key: str, _bucket: str, _method: str, headers: Mapping[str, str], *, is_processed: bool = False
    ) -> Answer:
        """Replace ``OriginClient.fetch``; keys replace URLs."""
        assert not is_processed
        await self.pass_time(8)
        if self.failures and self.random.random() < 0.3:
            self.failures -= 1
            refused = PresignedUrlRefused(CosError(403))
            raise self.random.choice([OriginUnavailable("fails"), ImageNotFound("gone"), refused])
        version = self.objects[key][-1]
        if headers.get("If-Match", version.etag) != version.etag and self.random.random() < 0.5:
            raise ObjectReplaced  # else it ignores the condition
        first = int(headers["Range"].removeprefix("bytes=").partition("-")[0]) if "Range" in headers else None
        lost_at = None
        if self.losses and self.random.random() < 0.5 and len(version.data) > (first or 0):
            self.losses -= 1
            lost_at = self.random.randrange(first or 0, len(version.data))
        answer = Answer(self, version, first, lost_at)
        self.answers.append(answer)
        return answer


def image_of(key: str) -> AuthorizedImage:
    """Return an image whose object has that key."""
    return signed_image(ImageRecord(key, None, True, "bucket", "region", key, None), PresignedUrl(key, 0, 0))


class Gateway:
    """The real object source over that origin."""

    def __init__(self, chaos: Chaos, resumes: int = 3) -> None:
        self.chaos = chaos
        metrics = Metrics()
        self.log = quiet_log()
        self.cache = ObjectCache(Live(KEPT), metrics.origin, self.log)
        self.readers: list[Reader] = []

        async def renew(refused: SignedImage, _cos_time: float | None) -> SignedImage:
            await self.chaos.pass_time(4)
            return refused

        access = OriginAccess(
            cast("OriginClient", chaos),
            FailedObjects(lambda _: float("inf")),  # rows have always changed since: COS is asked each time
            self.cache,
            renew,
            lambda image: image.presigned,
            metrics.origin,
            Live(ResumptionLimits(resumes, lambda _: 0.0, PROGRESS)),
        )
        renditions = Live(Renditions({}))
        refused = RefusedVariants(renditions, self.cache.changed_at)
        self.source = ObjectSource(access, VariantSource(access, renditions, refused), LIMITS)

    async def read(self, key: str, *, pace: int, most: int | None) -> str:
        """Read as one reader that leaves after ``most`` pieces; return the outcome."""
        await self.chaos.pass_time(60)
        try:
            reader = await self.source.join(image_of(key), {})
        except (GatewayError, RowChanged, ObjectReplaced) as error:
            return type(error).__name__
        self.readers.append(reader)
        received = bytearray()
        pieces = 0
        try:
            if reader.transfer.state.keeps_all and self.chaos.random.random() < 0.3:
                received += await reader.read_whole()
            else:
                while piece := await reader.read():
                    received += piece
                    pieces += 1
                    self.check_bounds()
                    if pieces == most:
                        return "left"
                    await self.chaos.pass_time(pace)
        except BodyLost:
            assert any(v.data.startswith(received) for v in self.chaos.objects[key]), "not the beginning of a version"
            return "lost"
        finally:
            reader.close()
        assert bytes(received) in [v.data for v in self.chaos.objects[key]], "not the whole of one version"
        return "whole"

    def check_bounds(self) -> None:
        """Fail if a window or the reserved memory is exceeded."""
        assert 0 <= self.source.kept.taken <= KEPT.max_bytes
        for reader in self.readers:
            transfer = reader.transfer.state
            if not transfer.keeps_all:
                assert transfer._kept_bytes <= max(LIMITS.window, LIMITS.alone) + 400

    def check_the_end(self) -> None:
        """Fail if a transfer, a connection or reserved memory is left."""
        assert (self.source.kept.taken, self.source.shared_prefixes.taken) == (0, 0)
        assert not self.source._running
        for reader in self.readers:
            assert reader.transfer.state.readers == 0
            assert not reader.transfer.state._is_fetching
            assert not [turn for turn in reader.transfer._waiting if not turn.done()]
        assert all(answer.is_given_back for answer in self.chaos.answers), "a connection to COS is kept"
        for key, versions in self.chaos.objects.items():
            entry = self.cache.get(image_of(key))
            if entry is not None:
                assert entry.metadata.etag == versions[-1].etag, "an invalidated version is back"
                assert entry.body in (None, versions[-1].data)


async def run(gateway: Gateway, readers: int, *, cancelled: float, leave: float) -> list[tuple[str, str]]:
    """Run all readers; return the object and the outcome of each one that was not cancelled."""
    chaos = gateway.chaos
    tasks: dict[asyncio.Task[str], str] = {}
    for number in range(readers):
        key = chaos.random.choice("aab")
        most = chaos.random.randrange(1, 8) if chaos.random.random() < leave else None
        reading = gateway.read(key, pace=chaos.random.choice([1, 2, 30]), most=most)
        tasks[asyncio.create_task(reading, name=f"reader-{number}")] = key
    cancelled_tasks = [task for task in tasks if chaos.random.random() < cancelled]

    async def interfere() -> AsyncIterator[None]:
        for task in cancelled_tasks:
            await chaos.pass_time(12)
            task.cancel()
            if chaos.changes and chaos.random.random() < 0.5:
                chaos.changes -= 1
                chaos.change(key := chaos.random.choice("ab"))
                gateway.log.image_changed(key, gateway.cache.now())
            yield

    async for _ in interfere():
        pass
    done, stuck = await asyncio.wait(tasks, timeout=LIMIT)
    assert not stuck, f"no reader wakes {stuck}"
    outcomes = []
    for task in tasks:
        assert task in done
        if not task.cancelled():
            outcomes.append((tasks[task], task.result()))
    return outcomes


def test_readers_get_the_bytes_of_one_version_and_nothing_is_left_whatever_fails() -> None:
    async def all_of_it() -> None:
        for seed in SEEDS:
            gateway = Gateway(Chaos(seed, losses=6, failures=4, changes=3))
            try:
                await run(gateway, 14, cancelled=0.4, leave=0.2)
                gateway.check_the_end()
            except AssertionError as error:
                error.add_note(f"with seed {seed}")
                raise

    asyncio.run(all_of_it())


def test_nothing_is_left_of_a_body_that_comes_as_two_readers_leave_one_after_the_other() -> None:
    """Then COS is asked beside the readers: what is known may come while nobody has the turn."""

    async def read_nothing(gateway: Gateway) -> None:
        gateway.readers.append(reader := await gateway.source.join(image_of("a"), {}))
        reader.close()

    async def leave_after(turns: int, seed: int) -> None:
        gateway = Gateway(Chaos(seed))
        readers = [asyncio.create_task(read_nothing(gateway), name=f"reader-{number}") for number in range(3)]
        await asyncio.sleep(0)
        readers[0].cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        readers[1].cancel()
        await asyncio.wait(readers)
        assert readers[2].exception() is None
        gateway.check_the_end()

    async def all_of_it() -> None:
        for seed in SEEDS:
            for turns in range(1, 16):
                await leave_after(turns, seed)

    asyncio.run(all_of_it())
