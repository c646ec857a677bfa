"""What the plan does to the world: changes of rows, and faults. A fault ends by itself."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.plan import IMAGES

if TYPE_CHECKING:
    from tests.simulation.postgres_model import Postgres
    from tests.simulation.redis_model import Redis
    from tests.simulation.world import Host, World

_SHORT: Final = 18.0  # seconds


class Events:
    """The steps of a plan: each method takes a target and a value, which is mostly the seconds until the end.

    running: how many faults there are now. calm_since: when the last fault ended.
    unreadable: how many faults there are because of which rows cannot be read. readable_since: when the last one ended.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self.running = self.unreadable = 0
        self.calm_since = self.readable_since = world.loop.time()

    def change(self, target: int, value: float) -> None:
        """Change a row, and let clients ask before and after."""
        image_id = IMAGES[target]
        row = self._world.postgres.current(image_id)
        if not self._world.postgres.is_up or self._world.postgres.is_hanging:
            return
        self._world.postgres.commit(
            row._replace(version=row.version + 1, is_public=value < 0.6, is_active=not 0.8 < value < 0.95)
        )
        self._world.note(f"{self._world.postgres.current(image_id)}")
        for delay in (0.0, 0.001, 0.01, 0.05, 0.3, 1.01, 2.01):
            if self._world.random.random() < 0.4:
                front = self._world.random.randrange(self._world.fronts)
                self._world.loop.call_later(delay, self._ask, front, image_id)

    def _ask(self, front: int, image_id: str) -> None:
        self._world.loop.create_task(self._world.ask(front, image_id, self._world.viewer()))

    def change_in_rhythm(self, target: int, value: float) -> None:
        """Change a row again and again, at the very instants of a timer."""
        when = self._world.loop.next_timer() or self._world.loop.time()
        while when < self._world.ends_at:
            self._world.loop.call_at(
                max(when, self._world.loop.time()), self.change, target, self._world.random.random()
            )
            when += value

    def kill_links(self, target: int, value: float) -> None:
        """Kill the links of an image, through a gateway."""
        host = self._world.hosts[target % len(self._world.hosts)]
        if host.gateway is not None:
            image_id = IMAGES[int(value * len(IMAGES))]
            host.gateway.process.start(host.gateway.kill_links(image_id), "kill links")

    def change_rights(self, _target: int, value: float) -> None:
        """Reload all gateways, one after another, with other settings of access."""

        def reload(host: "Host") -> None:
            host.setup = host.setup._replace(rights=host.setup.rights + 1)
            if host.gateway is not None:
                host.gateway.change_rights(host.setup.rights)
                self._world.note_settings(is_reload=True)

        for number, host in enumerate(self._world.hosts):
            self._for(number * value / 10, lambda: None, partial(reload, host))

    def _for(self, seconds: float, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """Begin a fault now, and end it later."""
        self.running += 1
        begin()

        def finish() -> None:
            self.running -= 1
            self.calm_since = self._world.loop.time()
            end()

        self._world.loop.call_later(seconds, finish)

    def _without_purges_for(self, seconds: float, hosts: Sequence["Host"], *, is_lost: bool = False) -> None:
        """Expect no purges of these gateways for a while: they do not run, or do not reach Redis in time.

        is_lost: whether Redis forgets those of what is heard meanwhile. Otherwise they are sent later.
        """
        for host in hosts:
            host.stop_purging()
            self._world.loop.call_later(seconds, partial(host.purge_again, is_lost=is_lost))

    def _set(self, seconds: float, thing: Any, name: str, value: object = True, usual: object = False) -> None:
        """Set a property of a server for a while, to what it is not while all is well: ``usual``."""

        def put(new: object) -> None:
            setattr(thing, name, new)
            if new == usual and hasattr(thing, "go_on"):
                thing.go_on()

        self._for(seconds, partial(put, value), partial(put, usual))

    def _unreadable_for(self, seconds: float, name: str, value: object = True, usual: object = False) -> None:
        """As ``_set`` of Postgres. Rows cannot be read meanwhile."""
        self.unreadable += 1
        self._set(seconds, self._world.postgres, name, value, usual)

        def readable() -> None:
            self.unreadable -= 1
            self.readable_since = self._world.loop.time()

        self._world.loop.call_later(seconds, readable)

    def _at(self, target: int) -> "Host":
        return self._world.hosts[target % len(self._world.hosts)]

    def pause_gateway(self, target: int, value: float) -> None:
        """Pause a process. If it could not read rows as the pause began, its look-ups of then still fail after it."""
        host, began = self._at(target), self._world.loop.time()
        gateway = host.gateway
        if gateway is None:
            return

        def resume() -> None:
            gateway.process.resume()
            if not self._world.could_read(host, began):
                host.readable_since = self._world.loop.time()

        self._without_purges_for(value, [host])
        self._for(value, gateway.process.pause, resume)

    def kill_gateway(self, target: int, value: float) -> None:
        host = self._at(target)
        if host.gateway is not None:
            self._without_purges_for(value, [host])
            self._for(value, host.stop, host.start)

    def upgrade_gateway(self, target: int, value: float) -> None:
        """Restart a gateway with other settings."""
        host = self._at(target)
        host.setup = host.setup._replace(settings="2")
        self.kill_gateway(target, value)

    def refuse_lists(self, target: int, value: float) -> None:
        """Let a gateway, or each, answer nginx's question with an error."""
        for host in [self._at(target)] if target else self._world.hosts:
            self._set(value, host, "refuses_lists")

    def pause_nginx(self, target: int, value: float) -> None:
        """Pause the worker that asks for changes, or the one that serves, or both."""
        nginx = self._world.nginx
        for worker in ((nginx.worker,), (nginx.server,), (nginx.worker, nginx.server))[target]:
            self._for(value, worker.pause, worker.resume)

    def reload_nginx(self, _target: int, value: float) -> None:
        self._for(value, self._world.nginx.reload, self._world.nginx.end_old_workers)

    def restart_nginx(self, _target: int, _value: float) -> None:
        def restart() -> None:
            self._world.forget(self._world.nginx.server)
            self._world.nginx.restart()

        self._for(0, restart, lambda: None)

    def lock_table(self, _target: int, value: float) -> None:
        self._unreadable_for(value, "is_locked")

    def hang_postgres(self, _target: int, value: float) -> None:
        self._unreadable_for(value, "is_hanging")

    def stop_postgres(self, _target: int, value: float) -> None:
        self._unreadable_for(value, "is_up", False, usual=True)
        self._world.postgres.restart()

    def drop_trigger(self, _target: int, value: float) -> None:
        """Drop the trigger, and install it again."""
        postgres = self._world.postgres
        if postgres.trigger is not None:
            install = partial(postgres.install_trigger, postgres.trigger + 1)
            self._for(value, partial(setattr, postgres, "trigger", None), install)

    def deafen_feed(self, target: int, _value: float) -> None:
        """Let the session of a gateway, or each, get no notifications until it ends."""
        for host in [self._at(target)] if target else self._world.hosts:
            if host.connection is not None:
                self._for(0, partial(setattr, host.connection, "is_deaf", True), lambda: None)

    def cut_feed(self, target: int, _value: float) -> None:
        if (connection := self._at(target).connection) is not None:
            self._for(0, connection.disappear, lambda: None)

    def end_feed(self, target: int, _value: float) -> None:
        if (connection := self._at(target).connection) is not None:
            self._for(0, connection.server_closes, lambda: None)

    # ---- one gateway alone, or one connection

    def cut_off_from_postgres(self, target: int, value: float) -> None:
        self._cut_off(self._at(target), value, self._world.postgres)

    def cut_off_shortly(self, target: int) -> None:
        """Let Postgres refuse a gateway for some seconds."""
        host, seconds = self._at(target), 6.0
        self._unreadable_to(host, seconds, partial(self._world.postgres.refuse, host.name, seconds), lambda: None)

    def cut_off_from_redis(self, target: int, value: float) -> None:
        self._cut_off(self._at(target), value, self._world.redis)

    def cut_off_from_both(self, target: int, value: float) -> None:
        self._cut_off(self._at(target), value, self._world.postgres, self._world.redis)

    def cut_off_from_nginx(self, target: int, value: float) -> None:
        network, way = self._world.network, (self._world.nginx.name, self._at(target).name)
        self._for(value, partial(self._world.random.choice((network.block, network.refuse)), way, value), lambda: None)

    def _cut_off(self, host: "Host", value: float, *servers: "Postgres | Redis") -> None:
        """Let a gateway's connections be refused, or let nothing pass, which may last until both ends give them up."""
        network, is_refused = self._world.network, self._world.random.random() < 0.5
        seconds = value if is_refused or value < _SHORT else 3 * value
        for server in servers:
            if is_refused:
                server.refuse(host.name, seconds)
            else:
                network.block((host.name, server.process.name), seconds)
        if self._world.redis in servers:
            self._without_purges_for(seconds, [host])
        if self._world.postgres in servers:
            self._unreadable_to(host, seconds, lambda: None, lambda: None)
        else:
            self._for(seconds, lambda: None, lambda: None)

    def _unreadable_to(self, host: "Host", seconds: float, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """As ``_for``. This gateway cannot read rows meanwhile."""

        def readable() -> None:
            host.unreadable -= 1
            host.readable_since = self._world.loop.time()
            end()

        host.unreadable += 1
        self._for(seconds, begin, readable)

    def refuse_rows(self, target: int, value: float) -> None:
        """Let a gateway hear, and get no connection for rows: too many connections for its role."""
        host, postgres = self._at(target), self._world.postgres

        def begin() -> None:
            postgres.refuses_rows.add(host.name)
            postgres.end_connections(host.name, for_rows=True)

        self._unreadable_to(host, value, begin, partial(postgres.refuses_rows.discard, host.name))

    def deafen_gateway(self, target: int, value: float) -> None:
        """Let a gateway read rows, and get no notification but its own on sessions that it begins or has."""
        deaf, client = self._world.postgres.deaf, self._at(target).name

        def begin() -> None:
            deaf.add(client)
            for connection in self._world.postgres.connections:
                connection.is_deaf = connection.is_deaf or connection.client_name == client

        self._for(value, begin, partial(deaf.discard, client))

    def cut_connection_for_rows(self, target: int, _value: float) -> None:
        """Lose a connection of a gateway's pool, of which nobody is told."""
        host = self._at(target)
        kept = [connection for connection in self._world.postgres.connections if connection.is_for_rows(host.name)]
        if kept:
            host.lost_connections.append(self._world.random.choice(kept))
            self._for(0, host.lost_connections[-1].disappear, lambda: None)

    def change_sources(self, target: int, value: float) -> None:
        """Restart a gateway that reads rows otherwise: no column says which image is public."""
        host = self._at(target)
        host.setup = host.setup._replace(settings="3", is_private=True)
        self.kill_gateway(target, value)

    def stop_redis(self, _target: int, value: float) -> None:
        self._without_purges_for(value, self._world.hosts)
        self._set(value, self._world.redis, "is_up", False, usual=True)
        self._world.redis.cut_subscriptions()

    def hang_redis(self, _target: int, value: float) -> None:
        self._without_purges_for(value, self._world.hosts)
        self._set(value, self._world.redis, "is_hanging")

    def refuse_writes(self, _target: int, value: float) -> None:
        self._without_purges_for(value, self._world.hosts)
        self._set(value, self._world.redis, "refuses_writes")

    def lose_writes(self, _target: int, value: float) -> None:
        self._without_purges_for(value, self._world.hosts, is_lost=True)
        self._set(value, self._world.redis, "loses_writes")

    def lose_answers(self, _target: int, value: float) -> None:
        self._without_purges_for(value, self._world.hosts)
        self._set(value, self._world.redis, "loses_answers")

    def restore_redis(self, _target: int, value: float) -> None:
        """Restart Redis with what it had some seconds before."""

        def restart() -> None:
            lost = self._world.redis.restart()
            for image_id in lost:
                self._world.heard[image_id].clear()
            for host in self._world.hosts:
                host.lose_purges(lost)

        self._for(value, self._world.redis.take_snapshot, restart)

    def deafen_channel(self, target: int, _value: float) -> None:
        self._each_subscription(target, lambda subscription: setattr(subscription, "is_deaf", True))

    def cut_channel(self, target: int, _value: float) -> None:
        self._each_subscription(target, lambda subscription: subscription.disappear())

    def end_channel(self, target: int, _value: float) -> None:
        self._each_subscription(target, lambda subscription: subscription.server_closes())

    def _each_subscription(self, target: int, strike: Callable[[Any], None]) -> None:
        subscriptions = self._world.redis.subscriptions
        if subscriptions:
            self._for(0, partial(strike, subscriptions[target % len(subscriptions)]), lambda: None)

    def step_clock_of_gateway(self, target: int, _value: float) -> None:
        self._step_clock(self._at(target), "offset")

    def step_clock_of_nginx(self, _target: int, _value: float) -> None:
        self._step_clock(self._world, "nginx_offset")

    def _step_clock(self, machine: "Host | World", name: str) -> None:
        step = self._world.random.choice((-3600.0, -10.0, 10.0, 3600.0))
        self._for(0, partial(setattr, machine, name, step), lambda: None)

    def slow_cos(self, _target: int, value: float) -> None:
        """Let COS answer nothing for a while. Memory has no bytes meanwhile."""
        for host in self._world.hosts:
            if host.gateway is not None:
                host.gateway.memory.cos_answers_at = self._world.loop.time() + value

    def slow_network(self, _target: int, value: float) -> None:
        """Let each message take longer. Of the slower ones, some answers of Redis come too late."""
        slowness = self._world.random.choice((0.05, 0.2))
        if slowness == 0.2:
            self._without_purges_for(value, self._world.hosts)
        self._set(value, self._world.network, "slowness", slowness, 0.0)
