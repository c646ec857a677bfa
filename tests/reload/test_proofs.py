"""For each key that a reload changes, a test of this folder or of the canary proves it."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from docs.generate.configuration import KEYS
from gateway.errors import ReloadImpossible
from gateway.settings import Settings
from gateway.settings.base import NewValue
from gateway.settings.cos import BucketSettings
from gateway.settings.error_messages import SettingsError
from gateway.settings.reload_difference import difference
from tests.conftest import RunningGateway
from tests.reload.proofs import PROVEN


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
    names = [f"reload.{file.stem}" for file in Path(__file__).parent.glob("test_*.py")]
    for name in (*names, "stories.test_canary"):
        importlib.import_module(f"tests.{name}")
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
    with pytest.raises(ReloadImpossible, match="draining"):
        await gateway.reload()
    answer = await gateway.request(
        "POST", "/api/v1/config/reload", admin=True, headers={"Authorization": "Bearer the-admin-token-of-tests"}
    )
    assert (answer.status, answer.json()["code"]) == (409, "reload_impossible")
