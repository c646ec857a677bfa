"""Commands as they are packed for Redis, scripts, the time limit of calls, and the log of outages."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Connection
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError

from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable, CircuitBreaker, Script
from gateway.settings import RedisSettings
from tests.limits import LIMIT
from tests.stalling import Stalling
from tests.tier import Clock
from tests.valve import Valve
from tests.waiting import until

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

    async def answers() -> bool:
        with suppress(CacheUnavailable):
            await stalling.ping()
            return True
        return False

    await until(answers)
    stalling.valve.close()
    with pytest.raises(CacheUnavailable, match=r"no answer within 0.1 s"):
        await stalling.ping()
    with pytest.raises(CacheUnavailable):
        await stalling.ping()
    stalling.valve.open()


async def test_a_connection_that_the_kernel_gave_up_while_it_was_idle_is_not_used(redis_url: str) -> None:
    """What is written to it raises ``TypeError`` or ``AttributeError`` from Python 3.12 on. So the pool has to know."""
    port = urlsplit(redis_url).port or 0
    async with Valve.before(port) as valve:
        url = SecretStr(redis_url.replace(f":{port}", f":{valve.port}"))
        async with open_redis(RedisSettings(url=url, timeout=LIMIT)) as shards:
            pool = shards.servers.all[0].client.connection_pool
            connection = await pool.get_connection()
            await pool.release(connection)

            async def is_known_to_be_closed() -> bool:
                try:
                    await connection.can_read()
                except RedisConnectionError:
                    return True
                return False

            valve.time_out()
            await until(lambda: not valve.has_clients(), what="the end of the connection")
            valve.open()
            await until(is_known_to_be_closed)
            await shards.servers.all[0].ping()


async def test_a_call_under_way_when_its_server_is_closed_leaves_no_connection(redis_url: str) -> None:
    """It is sent again: as after the end of any connection."""
    port = urlsplit(redis_url).port or 0
    async with Valve.before(port) as valve:
        url = SecretStr(redis_url.replace(f":{port}", f":{valve.port}"))
        async with open_redis(RedisSettings(url=url, timeout=LIMIT)) as shards:
            [guard] = shards.servers.all
            call = asyncio.create_task(guard.run(("BLPOP", "nothing", "0.2")), name="call")
            await until(valve.has_clients)
        assert await call == [None]
        await until(lambda: not valve.has_clients(), what="the end of the connection")


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


EVERYTHING = Script(
    keys="first second *more",
    arguments="number text",
    rows="word at",
    body="return {first, second, #more, more[1] or '', number, text, #rows, rows[#rows].word, rows[#rows].at}",
)


@pytest.mark.parametrize("more", [[], ["m1", "m2", "m3"]])
def test_each_name_has_its_value(redis_client: "redis.Redis", more: list[str]) -> None:
    rows = [("a", 1), ("b", b"\xff")]
    call = EVERYTHING.command(second="k2", first="k1", more=more, text="", number=1.5, rows=rows)
    answer = redis_client.execute_command(*call)  # type: ignore[no-untyped-call]
    assert answer == [b"k1", b"k2", len(more), b"m1" if more else b"", b"1.5", b"", 2, b"b", b"\xff"]
    assert call[2 : 5 + len(more)] == (2 + len(more), "k1", "k2", *more), "a Cluster chooses the node by the keys"


def test_a_script_without_rows_gets_none(redis_client: "redis.Redis") -> None:
    call = Script(keys="key", rows="word", body="return {key, #rows}").command(key="k")
    assert redis_client.execute_command(*call) == [b"k", 0]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("named", [{"key": "k"}, {"key": "k", "life": 1, "more": 1}, {"key": "k", "live": 1}])
def test_a_wrong_name_is_an_error_before_redis_is_asked(named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"\['key', 'life'\], not"):
        Script(keys="key", arguments="life", body="return 1").command(**named)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


@pytest.mark.parametrize("used_its_time", [False, True])
def test_failures_in_a_row_are_an_outage_which_is_logged_once_and_so_is_its_end(
    log: pytest.LogCaptureFixture, *, used_its_time: bool
) -> None:
    breaker = CircuitBreaker()
    breaker.failed("refused")
    breaker.failed("refused")
    breaker.answered()
    assert (breaker.failures, log.records) == (0, [])
    for _ in range(2):
        log.clear()
        for _ in range(0 if used_its_time else 2):
            breaker.failed("refused")
            assert not breaker.is_open
        breaker.failed("refused", at_once=used_its_time)
        assert breaker.is_open
        breaker.failed("still refused")
        for _ in range(2):
            breaker.answered()
            assert not breaker.is_open
        assert [(record.levelname, record.message) for record in log.records] == [
            ("WARNING", "redis does not answer, going on without it: reason=refused"),
            ("INFO", "redis answers again"),
        ]


def test_repeated_refusals_are_logged_once_a_minute(log: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    breaker = CircuitBreaker(monotonic=clock)
    for _ in range(60):
        breaker.refused("OOM")
        breaker.answered()
        clock.now += 1
    assert [record.message for record in log.records] == ["redis refuses commands: reason=OOM"]
    breaker.refused("READONLY")
    assert "READONLY" in log.records[-1].message
