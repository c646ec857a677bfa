"""The part that keeps the list of changes for nginx."""

import hashlib
import json
from dataclasses import dataclass

from gateway.process.reloader import Change
from gateway.purge.heard_changes import HeardChanges, Source
from gateway.purge.sweeping_changes import SweepingChanges
from gateway.redis_store.invalidation_channel import Scope
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Changes:
    """``heard`` is the list. ``sweeping`` adds changes without an image to it, here and on other replicas."""

    heard: HeardChanges
    sweeping: SweepingChanges

    async def prepare(self, old: Settings, new: Settings) -> Change:
        """Return the change, which needs no preparation."""
        if _results(old) != _results(new):
            return Change(lambda: self._have_other_results(new))
        if old.access != new.access:
            return Change(self.void_decisions)
        return Change(lambda: None)

    def _have_other_results(self, settings: Settings) -> None:
        self.heard.settings = _results(settings)
        self.sweeping.made(Scope.IMAGES)

    def listens_to(self, source: Source) -> None:
        """Note that changes of ``source`` are heard from now on."""
        if self.heard.listens_to(source):
            self.sweeping.made(Scope.IMAGES)

    def void_decisions(self) -> None:
        """Note that the callers of this replica have other rights from now on."""
        self.sweeping.made(Scope.DECISIONS)


def _results(settings: Settings) -> str:
    """Return a hash of the settings by which an address leads to other bytes, or is for other callers."""
    sections = settings.model_dump(
        mode="json",
        include={
            "image_styles": True,
            "image_variants": True,
            "cos": {"bucket", "region"},
            "postgres": {"table", "columns"},
        },
        exclude={"image_variants": {"max_new_per_minute"}},
    )
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:16]


def make_changes(settings: Settings) -> Changes:
    """Return the part. It has nothing to open."""
    sources = [Source.ROWS] if settings.postgres.listen else []
    if settings.url_cache.enabled:
        sources.append(Source.REPLICAS)
    heard = HeardChanges(sources, settings=_results(settings))
    return Changes(heard, SweepingChanges(heard))
