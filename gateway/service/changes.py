"""The part that knows what has changed: the log, and the list for nginx."""

import hashlib
import json
import secrets
import time
from functools import partial
from typing import Final

from prometheus_client import Gauge

from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.heartbeat import Heartbeat
from gateway.changes.nginx_list import NginxList
from gateway.concurrency.clocks import boot_time
from gateway.errors import DependencyDegraded
from gateway.settings import Live, Settings

_OVERDUE: Final = 15.0  # seconds without a heartbeat
_MESSAGES: Final = {Source.ROWS: "the notifications of Postgres", Source.REPLICAS: "the messages of replicas in Redis"}


class Changes:
    """The objects that pass on changes of images: ``log`` to the caches of this process, ``nginx_list`` to nginx.

    heartbeat_age: None in a process that hears no changes.
    """

    def __init__(self, live: Live[Settings], heartbeat_age: Gauge | None = None) -> None:
        settings, results = live.value, live.map(_results)
        heard = {Source.ROWS: settings.postgres.listen, Source.REPLICAS: settings.url_cache.enabled}
        sources = [source for source, is_heard in heard.items() if is_heard and heartbeat_age is not None]
        name = secrets.token_hex(8)
        self.log = ChangeLog(sources, name, boot_time())
        if heartbeat_age is not None:
            for source, heartbeat in self.log.heartbeats.items():
                heartbeat_age.labels(source.value).set_function(partial(_age, heartbeat))
        self.nginx_list = NginxList(self.log, name, lambda: results.value, time.time() - boot_time())
        live.watch(self._settings_changed)

    async def probe(self) -> None:
        """Raise ``DependencyDegraded`` if no heartbeat has come back lately: changes are not heard."""
        for source, heartbeat in self.log.heartbeats.items():
            if (age := heartbeat.age(boot_time())) > _OVERDUE:
                why = f": {heartbeat.problem}" if heartbeat.problem else ""
                raise DependencyDegraded(f"no heartbeat came back for {age:.0f} s among {_MESSAGES[source]}{why}")

    def rights_changed(self) -> None:
        """Make caches in front forget decisions about access: callers have other rights from now on."""
        self.log.sweep(Scope.DECISIONS, boot_time())

    def _settings_changed(self, old: Settings, new: Settings) -> None:
        """Make every cache forget what depends on settings that have changed."""
        if _results(old) != _results(new):
            self.log.sweep(Scope.IMAGES, boot_time())
        elif old.access != new.access:
            self.rights_changed()


def _age(heartbeat: Heartbeat) -> float:
    return heartbeat.age(boot_time())


def _results(settings: Settings) -> str:
    """Return a hash of the settings by which an address leads to other bytes, or to none, or is for other callers."""
    sections = settings.model_dump(
        mode="json",
        include={"image_styles": True, "image_variants": True, "image_proxy": {"enabled"}},
        exclude={"image_variants": {"max_new_per_minute"}},
    )
    return hashlib.sha256(json.dumps([settings.sources, sections], sort_keys=True).encode()).hexdigest()[:16]
