"""Commands as they are packed for Redis, and the time limit of calls."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Connection
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import DataError

from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.settings import RedisSettings
from tests.stalling import Stalling

TIMEOUT = 1.0
_ARGUMENT = st.text(st.characters(exclude_categories=["Cs"])) | st.binary() | st.integers() | st.floats(allow_nan=False)


async def test_a_late_event_loop_is_no_failure_of_redis(redis_url: str) -> None:
    """A thousand streams that start at once keep it busy for seconds; the answers are in the sockets for long."""
    async with open_redis(RedisSettings(url=SecretStr(redis_url), timeout=TIMEOUT)) as shards:
        [guard] = shards.servers.all
        await guard.ping()
        pings = [asyncio.create_task(guard.ping(), name="ping") for _ in range(5)]
        for _ in range(2):
            await asyncio.sleep(0)
            ends_at = time.monotonic() + 1.5 * TIMEOUT
            while time.monotonic() < ends_at:
                pass
        await asyncio.gather(*pings)


async def test_a_redis_that_hangs_is_waited_for_once(stalling: Stalling) -> None:
    await stalling.ping()
    stalling.valve.close()
    with pytest.raises(CacheUnavailable, match=r"no answer within 0.1 s"):
        await stalling.ping()
    with pytest.raises(CacheUnavailable):
        await stalling.ping()
    stalling.valve.open()


async def made_connection() -> AbstractConnection:
    async with open_redis(RedisSettings(url=SecretStr("redis://localhost:1/0"))) as shards:
        pool = shards.servers.all[0].client.connection_pool
        made: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
        return made


@given(st.sampled_from(["GET", b"GET", "CLIENT SETNAME", b"SCRIPT LOAD"]), st.lists(_ARGUMENT))
async def test_a_command_is_packed_to_the_byte_as_by_the_library(
    name: str | bytes, arguments: list[str | bytes | int | float]
) -> None:
    expected = Connection().pack_command(name, *arguments)
    packed = (await made_connection()).pack_command(name, *arguments)
    assert b"".join(packed) == b"".join(expected)
    assert len(packed) == 1


@pytest.mark.parametrize("argument", [None, ["a"]])
async def test_what_redis_has_no_type_for_is_refused_as_by_the_library(argument: Any) -> None:
    with pytest.raises(DataError):
        (await made_connection()).pack_command("SET", "a", argument)
