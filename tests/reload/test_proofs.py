"""For each key that a reload changes, a test of this folder proves it."""

import importlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from docs.generate.configuration import KEYS
from gateway.process.reloader import Difference, Prepared, Reloader, ReloadNotPossible, ReloadRefused, Sources
from gateway.service.metrics import Metrics
from gateway.settings import Live, Settings
from gateway.settings.base import NewValue
from gateway.settings.cos import BucketSettings
from gateway.settings.error_messages import SettingsError
from gateway.settings.reload_difference import difference
from tests.conftest import RunningGateway
from tests.reload.proofs import PROVEN
from tests.waiting import until


def keys_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield the keys of a section, down to those that hold a value, a mapping, or null."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys_of(kind, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def test_every_key_says_how_it_takes_a_new_value() -> None:
    assert set(keys_of(Settings)) <= KEYS.keys()
    within = {"access.signed_links.keys", *(f"cos.buckets.*.{name}" for name in BucketSettings.model_fields)}
    assert KEYS.keys() - set(keys_of(Settings)) == within


def test_every_reloaded_key_has_its_proof() -> None:
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.reload.{file.stem}")
    assert {key for key, way in KEYS.items() if way is NewValue.RELOADED} == PROVEN


def settings(**sections: Any) -> Settings:
    """The least configuration, with these sections."""
    cos = {"secret_id": "i", "secret_key": "k", "bucket": "b-1250000000", **sections.pop("cos", {})}
    return Settings(postgres={"dsn": "dbname=a"}, cos=cos, **sections)


def test_equal_configurations_differ_in_nothing_though_one_states_its_defaults() -> None:
    stated = settings(server={"port": 8080}, url_cache={"default_ttl": 3600}, url_prerefresh={"threshold": 900})
    assert difference(settings(), stated)[1:] == ((), ())


def test_keys_that_need_a_restart_keep_their_old_values_beside_new_ones() -> None:
    found = difference(settings(), settings(server={"port": 1, "shutdown_grace": 1}))
    assert (found.changed, found.need_restart) == (("server.shutdown_grace",), ("server.port",))
    assert (found.settings.server.port, found.settings.server.shutdown_grace) == (8080, 1)


def test_new_values_that_do_not_go_together_with_old_ones_are_a_mistake() -> None:
    """Without the cache in Redis no entry key is needed; but the cache stays on until a restart."""
    new = settings(url_cache={"enabled": False}, cos={"credentials": {"source": "cvm_role"}})
    with pytest.raises(SettingsError, match=r"redis\.entry_key: is required.*needs a restart \(url_cache\.enabled\)"):
        difference(settings(), new)


async def test_a_reload_while_draining_is_refused(gateway: RunningGateway) -> None:
    gateway.drain()
    with pytest.raises(ReloadNotPossible, match="draining"):
        await gateway.reload()
    answer = await gateway.request(
        "POST", "/api/v1/config/reload", admin=True, headers={"Authorization": "Bearer the-admin-token-of-tests"}
    )
    assert (answer.status, answer.json()["code"]) == (409, "reload_impossible")


class FixedPart:
    """A part whose change is given; raises it if it is an error."""

    def __init__(self, change: Prepared | ReloadRefused) -> None:
        self._change = change

    async def prepare(self, _: int, __: int) -> Prepared:
        """Return the change."""
        if isinstance(self._change, ReloadRefused):
            raise self._change
        return self._change


def reloader_of(*parts: FixedPart) -> Reloader[int]:
    """Reloads 2 in place of 1."""
    return Reloader(
        Live(1), Sources(lambda: 2), lambda _, new: Difference(new, ("number",), ()), parts, Metrics().reload
    )


async def test_what_is_replaced_and_cannot_be_closed_is_logged_and_the_new_configuration_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = []

    async def fail() -> None:
        raise OSError("it does not close")

    async def close() -> None:
        closed.append(True)

    reloader = reloader_of(FixedPart(Prepared(lambda: None, fail)), FixedPart(Prepared(lambda: None, close)))
    assert (await reloader.reload()).changed == ("number",)
    assert reloader.live.value == 2
    assert closed == [True]
    assert "it does not close" in caplog.text


async def test_a_part_that_refuses_keeps_the_old_configuration_of_all_parts() -> None:
    applied, discarded = [], []

    async def discard() -> None:
        discarded.append(True)

    ready = FixedPart(Prepared(lambda: applied.append(True), discard=discard))
    reloader = reloader_of(ready, FixedPart(ReloadRefused("number: for a test")))
    with pytest.raises(ReloadRefused):
        await reloader.reload()
    assert (reloader.live.value, applied, discarded) == (1, [], [True])


async def test_a_read_that_hangs_is_refused_and_no_other_one_starts_meanwhile() -> None:
    """As of a file on a network file system; then the reload, and the end of the process, would wait for ever."""
    may_end = threading.Event()

    def read() -> int:
        may_end.wait()
        return 2

    reloader = Reloader(
        Live(1), Sources(read, timeout=0.2), lambda _old, new: Difference(new, (), ()), (), Metrics().reload
    )
    with pytest.raises(ReloadRefused, match="cannot be read within"):
        await reloader.reload()
    with pytest.raises(ReloadRefused, match="an earlier read"):
        await reloader.reload()
    assert reloader.live.value == 1
    may_end.set()

    async def is_reloaded() -> bool:
        with suppress(ReloadRefused):
            await reloader.reload()
        return reloader.live.value == 2

    await until(is_reloaded)
