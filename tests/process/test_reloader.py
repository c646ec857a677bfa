"""The reloader: what a read that fails refuses, what each part gets, and what is replaced as a whole."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.errors import ConfigurationRefused, ReloadImpossible
from gateway.process.reloader import Reloader
from gateway.service.metrics import Metrics
from gateway.settings import Live, Settings
from gateway.settings.error_messages import SettingsError
from tests.waiting import until


def settings(**sections: Any) -> Settings:
    """The least configuration, with these sections."""
    cos = {"secret_id": "i", "secret_key": "k", "bucket": "b-1250000000", **sections.pop("cos", {})}
    return Settings(postgres={"dsn": "dbname=a"}, cos=cos, **sections)


@dataclass(eq=False)
class PreparedPart:
    """A part that notes what it is asked to do, in ``turns``, and raises the errors that are given."""

    turns: list[tuple["PreparedPart", str, int, int]] = field(default_factory=list)
    refusal: ConfigurationRefused | None = None
    closing: Exception | None = None

    @asynccontextmanager
    async def prepare(self, old: Settings, new: Settings) -> AsyncIterator[Callable[[], None]]:
        """Yield what notes that the change is applied."""
        most = old.url_cache.max_size, new.url_cache.max_size
        if self.refusal is not None:
            raise self.refusal
        try:
            yield lambda: self.turns.append((self, "applied", *most))
        finally:
            self.turns.append((self, "closed", *most))
            if self.closing is not None:
                raise self.closing


def reloader_of(
    read: Callable[[], Settings] | None, *parts: PreparedPart, is_draining: bool = False, read_timeout: float = 10
) -> Reloader:
    """Return the reloader of a service that has started with the least configuration."""
    return Reloader(
        Live(settings()),
        read,
        [part.prepare for part in parts],
        Metrics().reload,
        is_draining=lambda: is_draining,
        read_timeout=read_timeout,
    )


async def test_the_parts_change_in_their_order_and_keys_that_need_a_restart_keep_their_values() -> None:
    first = PreparedPart()
    second = PreparedPart(first.turns)
    most = settings().url_cache.max_size
    reloader = reloader_of(lambda: settings(url_cache={"max_size": 7}, server={"port": 1}), first, second)
    result = await reloader.reload()
    assert first.turns[:2] == [(first, "applied", most, 7), (second, "applied", most, 7)]
    assert (result.changed, result.need_restart) == (("url_cache.max_size",), ("server.port",))
    assert (reloader.live.value.url_cache.max_size, reloader.live.value.server.port) == (7, settings().server.port)


def mistaken() -> Settings:
    """Read a configuration with two mistakes."""
    raise SettingsError(["cos.bucket: is wrong", "redis.url: is wrong"])


def unreadable() -> Settings:
    """Read a file that is not there."""
    raise FileNotFoundError(2, "No such file or directory", "/etc/gateway.yaml")


def impossible() -> Settings:
    """Read a configuration that is not valid with the cache on, which is on until a restart."""
    return settings(url_cache={"enabled": False}, cos={"credentials": {"source": "cvm_role"}})


@pytest.mark.parametrize(
    ("read", "problems"),
    [
        (mistaken, ["cos.bucket: is wrong", "redis.url: is wrong"]),
        (unreadable, ["/etc/gateway.yaml: No such file or directory"]),
        (impossible, ["redis.entry_key: is required"]),
    ],
)
async def test_what_cannot_be_read_or_used_is_refused_with_a_line_for_each_mistake(
    read: Callable[[], Settings], problems: list[str]
) -> None:
    part = PreparedPart()
    reloader = reloader_of(read, part)
    with pytest.raises(ConfigurationRefused) as refused:
        await reloader.reload()
    assert [line[: len(problem)] for line, problem in zip(refused.value.problems, problems, strict=True)] == problems
    assert not part.turns
    assert reloader.live.value == settings()


async def test_without_sources_and_while_draining_nothing_is_read() -> None:
    with pytest.raises(ReloadImpossible, match="no configuration file"):
        await reloader_of(None).reload()
    with pytest.raises(ReloadImpossible, match="draining"):
        await reloader_of(unreadable, is_draining=True).reload()


def renewed() -> Settings:
    """Read a configuration that differs from the least one."""
    return settings(url_cache={"max_size": 7})


async def test_what_is_replaced_and_cannot_be_closed_is_logged_and_the_new_configuration_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    well = PreparedPart()
    reloader = reloader_of(renewed, well, PreparedPart(closing=OSError("it does not close")))
    assert (await reloader.reload()).changed == ("url_cache.max_size",)
    assert reloader.live.value == renewed()
    assert [turn for _, turn, *_ in well.turns] == ["applied", "closed"]
    assert "it does not close" in caplog.text


async def test_a_part_that_refuses_keeps_the_old_configuration_of_all_parts() -> None:
    ready = PreparedPart()
    refusing = PreparedPart(refusal=ConfigurationRefused("url_cache.max_size: for a test"))
    reloader = reloader_of(renewed, ready, refusing)
    with pytest.raises(ConfigurationRefused):
        await reloader.reload()
    assert (reloader.live.value, [turn for _, turn, *_ in ready.turns]) == (settings(), ["closed"])


async def test_a_read_that_hangs_is_refused_and_no_other_one_starts_meanwhile() -> None:
    """As of a file on a network file system; then the reload, and the end of the process, would wait for ever."""
    may_end = threading.Event()

    def read() -> Settings:
        may_end.wait()
        return renewed()

    reloader = reloader_of(read, read_timeout=0.2)
    with pytest.raises(ConfigurationRefused, match="cannot be read within"):
        await reloader.reload()
    with pytest.raises(ConfigurationRefused, match="an earlier read"):
        await reloader.reload()
    assert reloader.live.value == settings()
    may_end.set()

    async def is_reloaded() -> bool:
        with suppress(ConfigurationRefused):
            await reloader.reload()
        return reloader.live.value == renewed()

    await until(is_reloaded)
