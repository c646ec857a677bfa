"""The world of a run: servers, gateways, an nginx, clients, faults, and the checks after every answer."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any, Final

from tests.simulation import promise
from tests.simulation.events import Events
from tests.simulation.fronts import Copy, Front
from tests.simulation.gateway_process import Answer, Clocks, Gateway, Setup
from tests.simulation.loop import ExploringLoop, Process
from tests.simulation.network import Link, Network
from tests.simulation.nginx_process import NAME, Nginx, NoAnswer, Refused
from tests.simulation.oracle import Broken, allowed_age, key_for, replaced_at
from tests.simulation.plan import IMAGES, Plan
from tests.simulation.postgres_model import OWNER, Connection, Notification, Postgres, Row
from tests.simulation.redis_model import Redis

_EPOCH: Final = 1_700_000_000.0  # Unix seconds when the clock of the loop is 0
_LONGEST_WAIT: Final = promise.ANSWER + 60  # seconds; a process may be paused meanwhile
_CONNECT_TIMEOUT: Final = 3.0  # seconds (proxy_connect_timeout)
_FORGOTTEN: Final = 0.25  # seconds between two looks whether nginx uses copies again
_LOOKS: Final = 14  # each gateway names a change, and once more
_OWNERS_SHARE: Final = 0.3  # of the requests
_NOT_ONCE: Final = 4  # wrong answers: a second after a late answer of Redis, it is asked again
_LIFE_OF_URL, _LOCAL_TTL = 3600.0, 31.0  # seconds
_QUEUED: Final = 1.5  # seconds in which a gateway has queued the purge of what it has heard
_CALM: Final = 3.0  # seconds from the start of all processes until the first step
# The clocks by which rows are dated may differ by five seconds (``CLOCK_SKEW``), so each by half of that.
_LARGEST_SKEW: Final = 2.4


class Host:
    """A gateway's place: its clock, and the process that runs there now."""

    def __init__(self, world: "World", number: int, offset: float) -> None:
        self.number = number
        self.offset = offset
        self.gateway: Gateway | None = None
        self.connection: Connection | None = None
        self.refuses_lists = False
        self.setup = Setup("1", 1, False, world.plan.keeps_decisions)
        self.unreadable = 0  # the faults because of which this gateway alone cannot read rows
        self.readable_since = world.loop.time()
        self.lost_connections: list[Connection] = []  # of the pool
        self.unable = 0  # the faults because of which this gateway sends and queues no purges
        self.able_since = world.loop.time()
        self._unqueued: list[tuple[str, int]] = []  # what it has heard while unable
        self._world = world
        self._delivered: dict[str, int] = {}
        self._delivered_before: dict[str, int] = {}  # as the notification came that waits now
        self.all_dropped_at = 0.0
        self.sent: dict[str, tuple[int, float]] = {}  # the newest commit that an answer was made of, and when
        self.known: dict[str, tuple[int, float]] = {}  # commit and time of each image that the process has dropped

    @property
    def name(self) -> str:
        return f"gateway {self.number}"

    @property
    def dating_offset(self) -> float:
        """How far the clock is ahead by which rows are dated, in seconds."""
        return max(-_LARGEST_SKEW, min(self.offset, _LARGEST_SKEW))

    @property
    def has_lost_connections(self) -> bool:
        """Whether a look-up may still find a connection that is lost, or has found it lately."""
        lately = self._world.loop.time() - promise.UNREADABLE
        return any(connection.ended_at >= lately for connection in self.lost_connections)

    def stop_purging(self) -> None:
        """Note that it queues and sends no purges from now on. What it has just heard may not be queued yet."""
        self.unable += 1
        for image_id, heard in self._world.heard.items():
            late = [each for each in heard if each[2] is self and self._world.loop.time() - each[1] < _QUEUED]
            self._unqueued += [(image_id, commit) for commit, *_ in late]
            heard[:] = [each for each in heard if each not in late]

    def purge_again(self, *, is_lost: bool) -> None:
        """Note that it queues what it has heard, if that is not lost, unless another fault keeps it from that."""
        self.unable -= 1
        if is_lost:
            self._unqueued.clear()
        if not self.unable:
            self.able_since = self._world.loop.time()
            for image_id, commit in self._unqueued:
                self._world.heard[image_id].append((commit, self.able_since, self))
            self._unqueued.clear()

    def lose_purges(self, image_ids: Collection[str]) -> None:
        """Note that Redis has lost their purges, also those of what it may just have queued."""
        self._unqueued = [each for each in self._unqueued if each[0] not in image_ids]

    def start(self) -> None:
        """Start a process here."""
        world = self._world
        clocks = Clocks(
            world.loop.time,
            lambda: world.aged_time() + self.dating_offset,
            lambda: _EPOCH + world.loop.time() + self.offset,
        )
        process = Process(world.loop, self.name)
        self._delivered, self._delivered_before, self.known, self.sent = {}, {}, {}, {}
        self.all_dropped_at = 0.0
        self.lost_connections.clear()
        gateway = Gateway(
            process,
            world.postgres,
            world.redis,
            clocks,
            self.setup,
            world.cdn,
            self._connected,
        )
        gateway.log.add_cache(self)
        self.gateway = gateway
        process.context.run(gateway.start)
        world.note_settings()

    def stop(self) -> None:
        """Kill the process that runs here."""
        if self.gateway is not None:
            process = self.gateway.process
            process.kill()
            self._unqueued.clear()
            self._world.forget(process)
            self.gateway = None

    def _connected(self, connection: Connection) -> None:
        self.connection = connection
        connection.delivered = self._deliver

    def _deliver(self, notification: Notification) -> None:
        image_id = notification.payload
        if notification.commit:
            if image_id in self._delivered and not self._waits(image_id):
                self._delivered_before[image_id] = self._delivered[image_id]
            self._delivered[image_id] = notification.commit

    def _waits(self, image_id: str) -> bool:
        return self.connection is not None and image_id in self.connection.raw.notifies.waiting

    # ---- as a cache of the process, which hears what its change log hears

    def drop(self, image_id: str) -> None:
        """Note that the process has heard of a change: from now on it must not use earlier rows.

        Not of one whose notification still waits.
        """
        delivered = self._delivered_before if self._waits(image_id) else self._delivered
        if image_id in delivered:
            commit = delivered[image_id]
            if commit > self.known.get(image_id, (0, 0))[0]:
                self.known[image_id] = commit, self._world.loop.time()
                if self.unable:
                    self._unqueued.append((image_id, commit))
                else:
                    self._world.heard[image_id].append((*self.known[image_id], self))

    def drop_all(self) -> None:
        """Note that the process has heard that changes may have been missed: it uses no earlier rows."""
        self.all_dropped_at = self._world.loop.time()

    # ---- as nginx and clients reach it

    async def ask(self, image_id: str, viewer: str, client: str = "client") -> Answer:
        """Ask for an image. Raises ``NoAnswer`` if no process can be reached here."""
        answer: Answer = await self._request(client, lambda gateway: self._answer(gateway, image_id, viewer))
        return answer

    async def list(self, since: int, now: int | None) -> str:
        """Ask for the list of changes. Raises ``NoAnswer`` if no process runs here."""

        async def answer(gateway: Gateway) -> str:
            self._world.check_list(self, gateway)
            if self.refuses_lists:
                raise Refused("status 400")
            return gateway.changes_since(since, now)

        return str(await self._request(NAME, answer))

    async def _answer(self, gateway: Gateway, image_id: str, viewer: str) -> Answer:
        began = self._world.loop.time()
        answer = await gateway.answer(image_id, viewer)
        return answer._replace(excuse=self._world.check_gateway(self, image_id, began, answer))

    async def _request(self, client: str, work: Callable[[Gateway], Any]) -> Any:
        world, gateway, way = self._world, self.gateway, (client, self.name)
        reply: asyncio.Future[Any] = world.loop.create_future()
        if gateway is None or world.network.is_refused(way):
            await asyncio.sleep(world.network.delay())
            raise NoAnswer("connection refused")
        if world.network.passes_at(way) > world.loop.time():
            await asyncio.sleep(_CONNECT_TIMEOUT)
            raise NoAnswer("no connection")
        world.requests.setdefault(gateway.process, {})[reply] = world.loop.time()
        to_gateway = Link(world.network, gateway.process, way)

        async def handle() -> None:
            try:
                result = await work(gateway)
            except Refused as error:
                result = error
            await asyncio.sleep(world.network.delay())
            if not reply.done():
                reply.set_result(result)

        to_gateway.send(lambda: gateway.process.start(handle(), "request"))
        try:
            result = await reply
        finally:
            world.requests.get(gateway.process, {}).pop(reply, None)
        if isinstance(result, Refused):
            raise result
        return result


class World:
    """``failure``: done with an error as soon as the promise is broken."""

    def __init__(self, loop: ExploringLoop, random: Random, plan: Plan) -> None:
        self.loop = loop
        self.random = random
        self.plan = plan
        self.skipped = 0.0  # seconds by which caches are older than the loop has run
        self._skipped_at = float("-inf")  # nobody sent purges in the time that was skipped
        self.network = Network(loop, random)
        self.postgres = Postgres(self.network, Process(loop, "postgres"))
        self.redis = Redis(self.network, Process(loop, "redis"), self.aged_time)
        self.requests: dict[Process, dict[asyncio.Future[Any], float]] = {}  # with the time of each
        self.failure: asyncio.Future[None] = loop.create_future()
        self.notes: list[tuple[float, str]] = []
        self.answers = 0
        self.events = Events(self)
        self.ends_at = 0.0
        self._in_use_until: dict[str | int, float] = {}  # the settings, and since when no process has them
        self.postgres.lag = plan.lag
        self.postgres.loses_trigger = any(step.name == "drop_trigger" for step in plan.steps)
        # The commits that gateways have heard of and queue a purge for, and when.
        self.heard: dict[str, list[tuple[int, float, Host]]] = {image_id: [] for image_id in IMAGES}
        asks = self.ask_nginx if plan.has_cdn_before_nginx else self._ask_any_gateway
        self.cdn = Front("the CDN", asks, self.aged_time, self.network.delay, is_shared=True)
        self.browsers = [
            Front(name, self.ask_nginx, self.aged_time, self.network.delay, is_shared=False)
            for name in ("a stranger's browser", "the owner's browser")
        ]
        self.hosts = [Host(self, number, plan.skews[number]) for number in range(plan.gateways)]
        self.nginx_offset = plan.skews[-1]
        # Of two rows, gateways take the one that was read later by the clock of its reader: while clocks differ, the
        # earlier one may win.
        self._dates_agree = len({host.dating_offset for host in self.hosts}) == 1 and not any(
            step.name == "step_clock_of_gateway" for step in plan.steps
        )
        for image_id in IMAGES:
            self.postgres.commit(Row(image_id, 1, is_public=True, is_active=True))
        for host in self.hosts:
            host.start()
        self.nginx = Nginx(
            loop,
            NAME,
            lambda: _EPOCH + loop.time() + self.nginx_offset,
            self.aged_time,
            self.hosts,
            keeps_decisions=plan.keeps_decisions,
        )

    def aged_time(self) -> float:
        """Return the time by which rows are dated, and copies and entries end, in Unix seconds."""
        return _EPOCH + self.loop.time() + self.skipped

    def note(self, text: str) -> None:
        """Add to the trace."""
        self.notes.append((self.loop.time(), text))

    def forget(self, process: Process) -> None:
        """Let all requests to a process fail that has died."""
        for reply in self.requests.pop(process, {}):
            if not reply.done():
                reply.set_exception(NoAnswer("the connection was reset"))

    # ---- the run

    async def run(self) -> None:
        """Run the plan, and check that all recovers."""
        loop, begin = self.loop, self.loop.time() + _CALM
        self.ends_at = begin + self.plan.seconds
        clients = [loop.create_task(self._client(front)) for front in range(self.fronts)]
        for step in self.plan.steps:
            await asyncio.sleep(max(0.0, begin + step.at - loop.time()))
            self.note(f"{step.name} {step.target} {step.value:.3f}")
            getattr(self.events, step.name)(step.target, step.value)
        await asyncio.sleep(max(0.0, self.ends_at - loop.time()))
        while self.events.running:
            await asyncio.sleep(0.5)
        self.note("the last fault has ended")
        for client in clients:
            client.cancel()
        await asyncio.sleep(promise.RECOVERY)
        await self._check_recovery()
        self.skipped += self.plan.jump
        self._skipped_at = self.loop.time()
        if self.plan.jump > _LIFE_OF_URL and len({host.setup.is_private for host in self.hosts}) == 1:
            await self._check_without_rows()
        for _ in range(3):
            self.events.change(self.random.randrange(len(IMAGES)), self.random.random())
            await asyncio.sleep(self.random.choice((0.1, 0.5, 1.5, 2.1)))
            for front in range(self.fronts):
                for image_id in IMAGES:
                    await self.ask(front, image_id, self.viewer())
        await asyncio.sleep(_CALM)
        await self._check_recovery()

    async def _client(self, front: int) -> None:
        uniform, choice = self.random.uniform, self.random.choice
        while True:
            await asyncio.sleep(uniform(0.02, 0.7))
            self.loop.create_task(self.ask(front, choice(IMAGES), self.viewer()))

    def viewer(self) -> str:
        """Return who asks: mostly a stranger, whose answers the caches share."""
        return OWNER if self.random.random() < _OWNERS_SHARE else ""

    @property
    def fronts(self) -> int:
        """How many there are that clients ask: each gateway, nginx, the CDN and two browsers, in this order."""
        return len(self.hosts) + 4

    async def ask(self, front: int, image_id: str, viewer: str = "") -> Answer:
        """Ask a gateway, or what is in front."""
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                match front - len(self.hosts):
                    case 0:
                        return await self.ask_nginx(image_id, viewer)
                    case 1:
                        return await self._ask_front(self.cdn, image_id, "")
                    case 2:
                        return await self._ask_front(self.browsers[0], image_id, "")
                    case 3:
                        return await self._ask_front(self.browsers[1], image_id, OWNER)
                return await self.hosts[front].ask(image_id, viewer)
        except TimeoutError:
            self._fail(f"front {front} has not answered for {_LONGEST_WAIT:g} s")
            return Answer(503)
        except NoAnswer:
            return Answer(503)

    async def _ask_any_gateway(self, image_id: str, viewer: str) -> Answer:
        return await self.random.choice(self.hosts).ask(image_id, viewer)

    async def _ask_front(self, front: Front, image_id: str, viewer: str) -> Answer:
        began = self.loop.time()
        answer, copy = await front.answer(image_id, viewer)
        if copy is not None:
            self.check_front(front, copy._replace(answer=answer), image_id, began)
        return answer

    async def ask_nginx(self, image_id: str, viewer: str) -> Answer:
        """Ask for an image through nginx."""
        reply: asyncio.Future[Answer] = self.loop.create_future()
        nginx, worker = self.nginx, self.nginx.server
        self.requests.setdefault(worker, {})[reply] = self.loop.time()

        async def handle() -> None:
            began = self.loop.time()
            answer, is_copy = await nginx.answer(image_id, viewer)
            if is_copy:
                answer = answer._replace(excuse=self.check_nginx(image_id, began, answer))
            if not reply.done():
                reply.set_result(answer)

        Link(self.network, worker, ("client", NAME)).send(lambda: worker.start(handle(), "request"))
        try:
            return await reply
        finally:
            self.requests.get(worker, {}).pop(reply, None)

    # ---- the checks

    @property
    def is_calm(self) -> bool:
        """Whether nothing has failed for as long as recovery may take."""
        return not self.events.running and self.loop.time() - self.events.calm_since > promise.RECOVERY

    def check_gateway(self, host: Host, image_id: str, began: float, answer: Answer) -> str:
        """Check an answer that a gateway sends now, to a request that it got when it ``began``.

        Return an excuse if it is older than is promised.
        """
        self.answers += 1
        if answer.status == 503:
            return ""
        replaced, since = self._replaced(image_id, answer)
        heard, at = host.known.get(image_id, (0, 0.0))
        heard_for = (self.loop.time() if answer.status == 200 else began) - at  # nothing keeps a 404
        if heard >= since > 0 and heard_for > promise.AFTER_HEARING:
            self._fail(f"{host.name} sends {answer} {heard_for:.3f} s after it heard of its change")
        if replaced >= began:
            # A stranger's 404 names no version: the image may have been hidden before, too.
            if not since and (answer.key is not None or answer.viewer == OWNER):
                host.sent[image_id] = self.postgres.history[image_id][-1].position, self.loop.time()
            return ""
        age = began - replaced
        bound = promise.GATEWAY if self.is_calm else promise.GATEWAY_AMID_FAULTS
        if age <= allowed_age(answer, bound):
            return ""
        sent, at = host.sent.get(image_id, (0, 0.0))
        if sent >= since and began - at > promise.AFTER_HEARING and self._dates_agree:
            self._fail(f"{host.name} sends {answer} {began - at:.3f} s after it sent a later version")
        is_marked = answer.status == 404 or not answer.is_for_nginx
        if not is_marked or (self.could_read(host, began) and not host.has_lost_connections):
            self._fail(f"{host.name} sends {answer}, replaced {age:.3f} s before the request")
        return "unread"

    def could_read(self, host: Host, began: float) -> bool:
        """Return whether a gateway has been able to read rows for so long that it answers by them."""
        since = max(self.events.readable_since, host.readable_since)
        return not self.events.unreadable and not host.unreadable and began - since > promise.UNREADABLE

    def check_list(self, host: Host, gateway: Gateway) -> None:
        """Check that a gateway that says that it hears all changes has missed none."""
        if not gateway.hears():
            return
        bound = promise.GATEWAY if self.is_calm else promise.GATEWAY_AMID_FAULTS
        until = self.loop.time() - bound
        for image_id, history in self.postgres.history.items():
            known = host.known.get(image_id, (0, 0.0))[0]
            missed = next((c for c in reversed(history) if c.at <= until), None)
            if missed is not None and missed.position > known and missed.at > host.all_dropped_at:
                self._fail(f"{host.name} says that it hears, and has missed {missed}")

    def check_nginx(self, image_id: str, began: float, answer: Answer) -> str:
        """Check a copy that nginx sends now, to a request that it got when it ``began``.

        Return an excuse if it is older than is promised while gateways answer.
        """
        self.answers += 1
        if self.nginx.in_doubt_for > promise.NGINX_IN_DOUBT:
            self._fail(f"nginx sends {answer} after {self.nginx.in_doubt_for:.3f} s without a complete answer")
        replaced, _ = self._replaced(image_id, answer)
        assert answer.setup is not None
        replaced = min(replaced, self._in_use_until[answer.setup.settings])
        if self.nginx.keeps_decisions:
            replaced = min(replaced, self._in_use_until[answer.setup.rights])
        if self.nginx.in_doubt_for and not self.nginx.keeps_decisions:
            replaced = max(replaced, self.nginx.silent_until)  # nothing is heard of, and copies are used, until then
        if replaced >= began:
            return ""
        age = began - replaced
        is_silent = self.nginx.hears_nobody and not self.nginx.keeps_decisions
        bound = self._bound_of_nginx(is_silent=is_silent)
        if age > bound:
            self._fail(f"nginx sends {answer}, replaced {age:.3f} s before the request")
        return "silent" if is_silent else ""

    def check_front(self, front: Front, copy: Copy, image_id: str, began: float) -> None:
        """Check a copy of a cache in front that knows no change, to a request that it got when it ``began``."""
        self.answers += 1
        answer = copy.answer
        replaced, since = self._replaced(image_id, answer)
        if replaced >= began:
            return
        kept_for = self.aged_time() - copy.made_at
        if answer.excuse == "unread" or not answer.is_for_nginx:
            if kept_for > promise.UNREAD:
                self._fail(f"{front.name} sends {answer}, {kept_for:.3f} s after a gateway that could not read its row")
            return
        age, bound = (
            began - replaced,
            self._bound_of_nginx(is_silent=bool(answer.excuse)) + answer.kept_for(is_shared=False) + 1,
        )
        if front is self.cdn:
            if answer.excuse or not self._could_purge(image_id):
                return
            heard_at = min((at for commit, at, _ in self.heard[image_id] if commit >= since), default=float("inf"))
            age, bound = began - heard_at, promise.PURGED if self.is_calm else promise.PURGED_AMID_FAULTS
        if age > bound:
            self._fail(f"{front.name} sends {answer}, replaced {began - replaced:.3f} s before the request")

    def _could_purge(self, image_id: str) -> bool:
        """Return whether a gateway could send the purges of an image, and none that cannot holds them up."""
        able_since = self.loop.time() - promise.PURGES_AGAIN
        able = [host for host in self.hosts if not host.unable and host.able_since < able_since]
        queued, now = self.redis.purges, self.redis.now()
        due_at, claimant = queued.queue.get(image_id), queued.claimant(image_id)
        is_late = due_at is not None and due_at < now - promise.PURGE_SENT
        if not able or due_at is None or (is_late and self.loop.time() - self._skipped_at > promise.PURGE_SENT):
            return bool(able)
        names = {host.gateway.purges.replica for host in able if host.gateway is not None}
        return claimant is not None and claimant[0] in names and claimant[1] < now - promise.PURGE_SENT

    def _bound_of_nginx(self, *, is_silent: bool) -> float:
        if is_silent:
            return promise.NGINX_WITHOUT_ANSWER
        return promise.NGINX if self.is_calm else promise.NGINX_AMID_FAULTS

    def note_settings(self, *, is_reload: bool = False) -> None:
        """Note which settings and rights are in use, and since when others are not.

        Called when some come into use. nginx hears of other rights; that a process is gone it learns from the next one.
        """
        gateways = [host.gateway for host in self.hosts if host.gateway is not None]
        used = {value for gateway in gateways for value in (gateway.setup.settings, gateway.setup.rights)}
        for value in used:
            self._in_use_until[value] = float("inf")
        for value, until in self._in_use_until.items():
            if value not in used and not (is_reload and isinstance(value, str)):
                self._in_use_until[value] = min(until, self.loop.time())

    def _replaced(self, image_id: str, answer: Answer) -> tuple[float, int]:
        """Return when the version of an answer was replaced, and by which commit."""
        try:
            return replaced_at(self.postgres, image_id, answer)
        except Broken as error:
            self._fail(str(error))
            return float("inf"), 0

    async def _check_recovery(self) -> None:
        """Check that everything is heard, and that caches are used."""
        for host in self.hosts:
            if host.gateway is None or not host.gateway.hears():
                self._fail(f"{host.name} does not hear {promise.RECOVERY:g} s after the last fault")
        for image_id in IMAGES:
            row = self.postgres.current(image_id)
            for front in range(len(self.hosts) + 1):
                viewer = self.viewer()
                asked = self.hosts[front : front + 1] or self.hosts
                answer = await self._ask_after_recovery(front, image_id, viewer, asked)
                setups = [host.setup for host in asked]
                if all(answer.key != key_for(row, viewer, is_private=setup.is_private) for setup in setups):
                    self._fail(f"front {front} answers {answer} after the recovery, not {row}")
            for number, host in enumerate(self.hosts):
                if row.is_active and host.gateway is not None and host.gateway.cached(image_id) is None:
                    await self.ask(number, image_id, OWNER)  # it may have just ended
                    if host.gateway.cached(image_id) is not None:
                        continue
                    self._fail(f"{host.name} does not keep {image_id} after the recovery")
            for _ in range(_LOOKS):
                if self.nginx.uses_copies(image_id):
                    break
                await asyncio.sleep(_FORGOTTEN)  # the image has just changed, or is named once more
            else:
                self._fail(f"nginx uses no copy of {image_id} after the recovery")
        now = self.loop.time()
        for process, waiting in self.requests.items():
            for reply, began in waiting.items():
                if not reply.done() and now - began > promise.ANSWER:
                    self._fail(f"{process.name} has not answered a request for {now - began:.0f} s")

    async def _ask_after_recovery(self, front: int, image_id: str, viewer: str, asked: Sequence[Host]) -> Answer:
        """Ask once, and again for each connection that one of the hosts has lost, which a look-up may find only now."""
        answer = await self.ask(front, image_id, viewer)
        for _ in (lost for host in asked for lost in host.lost_connections):
            if answer.status == 503 or answer.excuse:
                await asyncio.sleep(promise.UNREADABLE)
                answer = await self.ask(front, image_id, viewer)
        return answer

    async def _check_without_rows(self) -> None:
        """Check that a gateway that cannot read rows, whose URLs have ended, uses those that another one has made."""
        await asyncio.sleep(_LOCAL_TTL)  # the memory of a gateway does not know of the quiet time
        host = self.hosts[-1]
        for image_id in IMAGES:
            await self.ask(0, image_id, OWNER)
        self.events.cut_off_shortly(host.number)
        for image_id in filter(self.redis.has_url, IMAGES):
            row = self.postgres.current(image_id)
            expected = key_for(row, OWNER, is_private=True)
            wrong = 0
            while host.unreadable and (await self.ask(host.number, image_id, OWNER)).key != expected:
                wrong += 1
                await asyncio.sleep(0.5)
            if wrong >= _NOT_ONCE:
                self._fail(f"{host.name} does not answer without {row}, whose URL is in Redis")
        await asyncio.sleep(promise.UNREADABLE)

    def _fail(self, reason: str) -> None:
        self.note(reason)
        if not self.failure.done():
            self.failure.set_exception(Broken(reason))
