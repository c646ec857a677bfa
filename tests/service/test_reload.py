"""The reload of the service: what a read that fails refuses, and what each part gets."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.process.reloader import Prepared, Reloader, ReloadNotPossible, ReloadRefused
from gateway.service.metrics import Metrics
from gateway.service.reload import make_reloader
from gateway.settings import Live, Settings
from gateway.settings.error_messages import SettingsError


def settings(**sections: Any) -> Settings:
    """The least configuration, with these sections."""
    cos = {"secret_id": "i", "secret_key": "k", "bucket": "b-1250000000", **sections.pop("cos", {})}
    return Settings(postgres={"dsn": "dbname=a"}, cos=cos, **sections)


class Asked:
    """A part that notes the settings it has to change, and its turn."""

    def __init__(self, turns: list[tuple["Asked", int, int]]) -> None:
        self._turns = turns

    async def prepare(self, old: Settings, new: Settings) -> Prepared:
        """Note the turn when the change is applied."""
        most = old.url_cache.max_size, new.url_cache.max_size
        return Prepared(lambda: self._turns.append((self, *most)))


def reloader_of(
    read: Callable[[], Settings] | None, *parts: Asked, is_draining: Callable[[], bool] = lambda: False
) -> Reloader[Settings]:
    """Return the reloader of a service that has started with the least configuration."""
    return make_reloader(Live(settings()), read, parts, Metrics().reload, is_draining)


async def test_the_parts_change_in_their_order_and_keys_that_need_a_restart_keep_their_values() -> None:
    turns: list[tuple[Asked, int, int]] = []
    first, second = Asked(turns), Asked(turns)
    most = settings().url_cache.max_size
    reloader = reloader_of(lambda: settings(url_cache={"max_size": 7}, server={"port": 1}), first, second)
    result = await reloader.reload()
    assert turns == [(first, most, 7), (second, most, 7)]
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
    turns: list[tuple[Asked, int, int]] = []
    reloader = reloader_of(read, Asked(turns))
    with pytest.raises(ReloadRefused) as refused:
        await reloader.reload()
    assert [line[: len(problem)] for line, problem in zip(refused.value.problems, problems, strict=True)] == problems
    assert not turns
    assert reloader.live.value == settings()


async def test_without_sources_and_while_draining_nothing_is_read() -> None:
    with pytest.raises(ReloadNotPossible, match="no configuration file"):
        await reloader_of(None).reload()
    with pytest.raises(ReloadNotPossible, match="draining"):
        await reloader_of(unreadable, is_draining=lambda: True).reload()
