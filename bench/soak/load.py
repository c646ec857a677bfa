"""Requests of every kind; each answer is checked byte by byte."""

import asyncio
import json as json_format
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
import jwt
import psycopg2
from yarl import URL

from bench.soak.faults import Schedule
from bench.soak.pictures import (
    CHANGING,
    COUNTS,
    OWNER,
    PHOTOS,
    PRIVATE,
    STRANGER,
    Picture,
    other_picture,
)
from bench.soak.stack import LINK_KEY, MIN_REMAINING, Stack
from gateway.access.signed_links import SignedLinks, short_address
from gateway.delivery.headers import UNREAD
from gateway.settings import Live, SignedLinksSettings
from gateway_dev.stack import JWT_SECRET

# A change takes effect within half a second; the rest is for a busy machine.
CHANGE_TIMEOUT = 2.0  # seconds
_TRIES = 2  # as nginx: a refused or unanswered request goes to another server


class Unanswered(Exception):
    """No server answered, or an answer was cut short: allowed while a fault is active, wrong otherwise."""


class Wrong(Exception):
    """An answer that no fault excuses."""


@dataclass
class Answer:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    server: str = ""


@dataclass
class Change:
    """A change of a row to one of two pictures. Times on the monotonic clock.

    done_at: when Postgres had confirmed it. None: it may still be made, at any time.
    """

    to_other: bool
    done_at: float | None = None


def shown_to(began: float, history: Sequence[Change]) -> set[bool]:
    """Return which pictures a request that began then may get, after these changes; True is the other picture."""
    allowed = {False}
    for change in history:
        if change.done_at is not None and change.done_at < began - CHANGE_TIMEOUT:
            allowed.clear()
        allowed.add(change.to_other)
    return allowed


@dataclass
class Load:
    """The requests, and what became of them."""

    stack: Stack
    schedule: Schedule
    session: aiohttp.ClientSession
    chance: random.Random
    kinds: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    received: int = 0
    """Bytes of bodies, all of them compared."""
    changes: dict[str, list[Change]] = field(default_factory=dict)
    """The changes of each image, by its id, the first change first."""

    def __post_init__(self) -> None:
        settings = SignedLinksSettings.model_validate({"keys": {"k1": LINK_KEY}})
        self._links = SignedLinks(Live(settings))
        self._choices: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (30, "small", lambda: self._whole("small")),
            (10, "medium", lambda: self._whole("medium")),
            (3, "large", lambda: self._whole("large")),
            (1, "huge", lambda: self._whole("huge")),
            (8, "range", self._range),
            (5, "not modified", self._not_modified),
            (4, "head", self._head),
            (6, "own private image", self._own_private),
            (5, "private image of another", self._private_of_another),
            (5, "signed link", self._signed_link),
            (5, "presigned URL", self._presigned_url),
            (3, "batch of URLs", self._batch),
            (4, "variant", self._variant),
            (5, "changing image", self._changing),
            (3, "unknown id", self._unknown),
            (2, "client that leaves", self._leaves),
        ]

    async def run(self, until: float, rate: float, concurrent: int) -> None:
        """Send requests until a time on the monotonic clock, so many a second and so many at once."""
        weights = [weight for weight, _, _ in self._choices]
        free = asyncio.Semaphore(concurrent)
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until:
                await free.acquire()
                _, kind, request = self.chance.choices(self._choices, weights)[0]
                task = group.create_task(self.judged(kind, request), name=kind)
                task.add_done_callback(lambda _: free.release())
                await asyncio.sleep(self.chance.expovariate(rate))

    async def change_rows(self, until: float) -> None:
        """Let a changing image show its other picture, one every second."""
        while time.monotonic() < until:
            image_id = f"changing-{self.chance.randrange(CHANGING)}"
            history = self.changes.setdefault(image_id, [])
            change = Change(to_other=not (history and history[-1].to_other))
            history.append(change)
            key = other_picture(image_id).key if change.to_other else self.stack.pictures[image_id].key
            while change.done_at is None and time.monotonic() < until:
                with suppress(psycopg2.Error):  # Postgres is down: whether the row changed is unknown
                    await asyncio.to_thread(
                        self.stack.table.execute, "UPDATE images SET cos_key = %s WHERE id = %s", key, image_id
                    )
                    change.done_at = time.monotonic()
                await asyncio.sleep(1)

    async def judged(self, kind: str, request: Callable[[], Awaitable[None]]) -> None:
        """Run the request, and record what became of it."""
        began = time.monotonic()
        self.kinds[kind] += 1
        try:
            await request()
        except Unanswered as error:
            if self.schedule.during(began, time.monotonic()):
                self.excused[str(error)] += 1
            else:
                self.add_wrong(f"{kind}: {error}, {self.schedule.said_at(began)}")
        except Wrong as error:
            self.add_wrong(f"{kind}: {error}")

    def add_failed(self, what: str, began: float) -> None:
        """Record what failed since then: a busy machine excuses it, and no fault does."""
        if self.schedule.was_busy(began, time.monotonic()):
            self.excused[what] += 1
        else:
            self.add_wrong(what)

    def add_wrong(self, what: str) -> None:
        """Record and print what is wrong."""
        self.wrong.append(what)
        print(f"WRONG at {time.strftime('%H:%M:%S')}", what, flush=True)

    async def _get(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, json: object = None
    ) -> Answer:
        addresses = self.stack.addresses
        first = self.chance.randrange(len(addresses))
        for attempt in range(_TRIES):
            server = addresses[(first + attempt) % len(addresses)]
            url = URL(server + path, encoded=True)
            has_begun = False
            try:
                async with self.session.request(method, url, headers=headers, json=json) as answer:
                    has_begun = True
                    body = await answer.read()
                    return self._checked(Answer(answer.status, answer.headers, body, server))
            except (aiohttp.ClientError, ConnectionError) as error:
                if has_begun:
                    raise Unanswered(f"cut ({type(error).__name__})") from error
                last = error
            except TimeoutError as error:
                raise Unanswered("no answer in time") from error
        raise Unanswered(f"refused ({type(last).__name__})") from last

    def _checked(self, answer: Answer) -> Answer:
        self.received += len(answer.body)
        if answer.status == 500:
            raise Wrong("500")
        if answer.status in (502, 503, 504):
            raise Unanswered(str(answer.status))
        return answer

    def _compare(self, answer: Answer, status: int, *pictures: Picture, offset: int = 0, size: int = -1) -> None:
        if answer.status != status:
            raise Wrong(f"{answer.status} instead of {status}")
        length = size if size >= 0 else pictures[0].size
        if len(answer.body) != length:
            raise Wrong(f"{len(answer.body)} bytes instead of {length}")
        if not any(picture.has(answer.body, offset) for picture in pictures):
            raise Wrong("wrong bytes")

    def _any(self, kind: str) -> str:
        # Some are requested often, so that they are in memory.
        return f"{kind}-{int(self.chance.random() ** 2 * COUNTS[kind])}"

    def _token(self, user: str) -> dict[str, str]:
        token = jwt.encode({"sub": user, "exp": int(time.time()) + 60}, JWT_SECRET, algorithm="HS256")
        return {"Authorization": f"Bearer {token}"}

    async def _whole(self, kind: str) -> None:
        image_id = self._any(kind)
        self._compare(await self._get(f"/i/{image_id}"), 200, self.stack.pictures[image_id])

    async def _range(self) -> None:
        picture = self.stack.pictures[image_id := self._any(self.chance.choice(["medium", "large"]))]
        first = self.chance.randrange(picture.size)
        last = self.chance.randrange(first, picture.size)
        answer = await self._get(f"/i/{image_id}", headers={"Range": f"bytes={first}-{last}"})
        self._compare(answer, 206, picture, offset=first, size=last - first + 1)

    async def _not_modified(self) -> None:
        image_id, began = self._any("small"), time.monotonic()
        first = await self._get(f"/i/{image_id}")
        self._compare(first, 200, self.stack.pictures[image_id])
        etag = first.headers["ETag"]
        second = await self._get(f"/i/{image_id}", headers={"If-None-Match": etag})
        by_nginx = second.server == self.stack.nginx.url
        if second.status == 200 and by_nginx and UNREAD in second.headers.get("Cache-Status", ""):
            # nginx drops the condition for its cache, and applies it only to what it may keep.
            self._compare(second, 200, self.stack.pictures[image_id])
        elif second.status != 304 or second.body:
            by = "nginx" if by_nginx else "a gateway"
            raise Wrong(f"{second.status} of {by} instead of 304, {self.schedule.said_at(began)}")

    async def _head(self) -> None:
        image_id = self._any("medium")
        answer = await self._get(f"/i/{image_id}", method="HEAD")
        length = answer.headers.get("Content-Length")
        if answer.status != 200 or length != str(self.stack.pictures[image_id].size):
            raise Wrong(f"{answer.status} with Content-Length {length}")

    async def _own_private(self) -> None:
        image_id = f"private-{self.chance.randrange(PRIVATE)}"
        answer = await self._get(f"/i/{image_id}", headers=self._token(OWNER))
        self._compare(answer, 200, self.stack.pictures[image_id])

    async def _private_of_another(self) -> None:
        image_id = f"private-{self.chance.randrange(PRIVATE)}"
        headers = self._token(STRANGER) if self.chance.random() < 0.5 else None
        answer = await self._get(f"/i/{image_id}", headers=headers)
        if answer.status != 404 or self.stack.pictures[image_id].has(answer.body[:64], 0):
            raise Wrong(f"{answer.status} instead of 404")

    async def _signed_link(self) -> None:
        image_id = f"private-{self.chance.randrange(PRIVATE)}"
        path, _ = self._links.make(short_address(image_id), expires_in=60, links_killed=0)
        self._compare(await self._get(path), 200, self.stack.pictures[image_id])

    async def _presigned_url(self) -> None:
        image_id = self._any("small")
        answer = await self._get(f"/api/v1/images/{image_id}/url")
        if answer.status != 200:
            raise Wrong(f"{answer.status} instead of 200")
        data = json_format.loads(answer.body)["data"]
        await self._fetch(data["url"], data["expires_at"], self.stack.pictures[image_id])

    async def _fetch(self, url: str, expires_at: object, picture: Picture) -> None:
        """Fetch a presigned URL from COS, which refuses one that has ended; faults of COS itself are excused."""
        try:
            async with self.session.get(URL(url, encoded=True)) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise Unanswered(f"COS cut ({type(error).__name__})") from error
        if answer.status != 200:
            raise Unanswered(f"COS answered {answer.status} to a URL handed out")
        self._compare(Answer(answer.status, answer.headers, body), 200, picture)
        if isinstance(expires_at, (int, float)) and expires_at - time.time() < MIN_REMAINING - 5:
            raise Wrong("a URL handed out ends too soon")

    async def _batch(self) -> None:
        image_ids = [self._any("small") for _ in range(20)]
        answer = await self._get("/api/v1/images/urls", method="POST", json={"image_ids": image_ids})
        if answer.status != 200:
            raise Wrong(f"{answer.status} instead of 200")
        data = json_format.loads(answer.body)["data"]
        if data["errors"]:
            raise Unanswered(f"batch: {sorted(set(data['errors'].values()))}")
        image_id = self.chance.choice(image_ids)
        found = data["urls"][image_id]
        await self._fetch(found["url"], found["expires_at"], self.stack.pictures[image_id])

    async def _variant(self) -> None:
        width = self.chance.choice([320, 640])
        answer = await self._get(f"/i/photo-{self.chance.randrange(PHOTOS)}?style=card&w={width}&format=webp")
        if answer.status != 200:
            raise Wrong(f"{answer.status} instead of 200")
        kind = answer.headers["Content-Type"]
        if kind == "image/webp" and answer.body[8:12] != b"WEBP":
            raise Wrong("no WebP")
        if kind != "image/webp" and not self.schedule.during(time.monotonic() - 90, time.monotonic()):
            raise Wrong(f"{kind} instead of WebP")

    async def _changing(self) -> None:
        image_id = f"changing-{self.chance.randrange(CHANGING)}"
        began = time.monotonic()
        answer = await self._get(f"/i/{image_id}")
        pictures = [self.stack.pictures[image_id], other_picture(image_id)]
        self._compare(answer, 200, *pictures)
        history = self.changes.get(image_id, [])
        is_other = pictures[1].has(answer.body, 0)
        is_allowed = is_other in shown_to(began, history)
        if not is_allowed and not self.schedule.during(began - CHANGE_TIMEOUT, time.monotonic()):
            late = began - max((change.done_at for change in history if change.done_at is not None), default=began)
            by = "nginx" if answer.server == self.stack.nginx.url else "a gateway"
            raise Wrong(f"{by} has old bytes {late:.1f} s after the change, {self.schedule.said_at(began)}")

    async def _unknown(self) -> None:
        answer = await self._get(f"/i/nobody-{self.chance.randrange(1000)}")
        if answer.status != 404:
            raise Wrong(f"{answer.status} instead of 404")

    async def _leaves(self) -> None:
        """Disconnect in the middle of a transfer."""
        address = self.chance.choice(self.stack.addresses)
        image_id = self._any("huge")
        try:
            async with self.session.get(f"{address}/i/{image_id}") as answer:
                if answer.status == 200:
                    data = await answer.content.readexactly(self.chance.randrange(1, 500_000))
                    self.received += len(data)
                    if not self.stack.pictures[image_id].has(data, 0):
                        raise Wrong("wrong bytes")
        except (aiohttp.ClientError, ConnectionError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise Unanswered(f"cut ({type(error).__name__})") from error
