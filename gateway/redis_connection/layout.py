"""Whether Redis is what ``redis.url`` and ``redis.shards`` say: the kind of server, and the number of its shards."""

import re
from typing import Final

from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shard, Shards, slot_of
from gateway.settings import RedisSettings

_SENTINEL_ANSWERS: Final = re.compile(r"(?i)unknown command")
_NODE_ANSWERS: Final = re.compile(r"\b(CROSSSLOT|MOVED|ASK|CLUSTERDOWN)\b")
_SERVER_ANSWERS: Final = re.compile(r"(?i)cluster support disabled|cluster mode is not enabled")


class WrongRedis(CacheUnavailable):
    """Redis answers, and cannot work before the configuration changes. ``advice`` says how."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what}: {advice}")
        self.what = what
        self.advice = advice


class Layout:
    """Compares Redis with the settings. ``image:shards`` holds the number of shards that the keys are spread over."""

    def __init__(self, shards: Shards, settings: RedisSettings) -> None:
        self._shards = shards
        self._settings = settings
        key = f"{shards.prefix}shards"
        tag = re.search(r"\{(.+?)\}", key)
        # Its name is the same for every number of shards, so it is in no shard.
        self._place = Shard(0, shards.prefix, slot_of(tag[1] if tag else key))
        self._key = key

    async def check(self) -> None:
        """Return if Redis fits. Raises ``WrongRedis``, and ``CacheUnavailable`` if that cannot be found out.

        The number of shards is kept in a Redis that has none.
        """
        try:
            if len(self._shards.servers.all) == 1 and not self._settings.names_a_cluster:
                # In different slots, so that a node of a Cluster refuses them.
                await self._shards.run_on(self._place, ("MGET", *(self._place.key("probe", name) for name in "ab")))
            kept = await self._kept()
        except WrongRedis:
            raise
        except CacheUnavailable as error:
            if (wrong := await self._of_another_kind(str(error))) is not None:
                raise wrong from error
            raise
        if kept != len(self._shards.all):
            raise WrongRedis(
                f"redis.shards is {len(self._shards.all)}, and the keys in Redis are spread over {kept}",
                f"write redis.shards: {kept}, or change the number as docs/scaling.md shows",
            )

    async def _kept(self) -> int:
        """Return the number in Redis. Keep ours if there is none, or another value."""
        [kept] = await self._shards.run_on(self._place, ("GET", self._key))
        if kept is not None and kept.isdigit() and 0 < len(kept) < 6:
            return int(kept)
        if kept is not None:
            await self._shards.run_on(self._place, ("DEL", self._key))
        await self._shards.run_on(self._place, ("SET", self._key, len(self._shards.all), "NX"))
        [kept] = await self._shards.run_on(self._place, ("GET", self._key))
        return int(kept)

    async def _of_another_kind(self, problem: str) -> WrongRedis | None:
        """Return what to write in ``redis.url`` if it is a server of another kind that answers so."""
        parts = self._settings.parts()
        scheme, hosts = parts.scheme.partition("+")[0], parts.netloc.rpartition("@")[2]
        if _SERVER_ANSWERS.search(problem) and self._settings.names_a_cluster:
            return WrongRedis(
                "redis.url leads to a single server, which is no Cluster", f"write {scheme}://{hosts.split(',')[0]}"
            )
        if "+" in parts.scheme and not self._settings.names_a_cluster:
            return None
        if _NODE_ANSWERS.search(problem) and not self._settings.names_a_cluster:
            return WrongRedis("redis.url leads to a node of a Cluster", f"write {scheme}+cluster://{hosts}")
        if _SENTINEL_ANSWERS.search(problem):
            name = await self._name_of_the_master()
            return WrongRedis("redis.url leads to a Sentinel", f"write {scheme}+sentinel://{hosts}/{name}/0")
        return None

    async def _name_of_the_master(self) -> str:
        try:
            server = self._shards.servers.all[0]
            async with server.bounded():
                masters = await server.client.execute_command("SENTINEL MASTERS")
            return next(iter(masters), "NAME")
        except CacheUnavailable:
            return "NAME"
