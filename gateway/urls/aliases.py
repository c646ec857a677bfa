"""Aliases: texts of the application that are further addresses of images, such as a slug or a former path."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from gateway.concurrency.grouped_calls import GroupedCalls
from gateway.errors import ImageNotFound, InvalidAlias
from gateway.settings import Live, UrlCacheSettings
from gateway.urls.resolver import UrlResolver

PATH: Final = "/a/"  # starts the addresses by alias
_LONGEST: Final = 850  # bytes of UTF-8, as the longest key of COS
_UNKNOWN_SHARE: Final = 10  # unknown aliases have one place for so many of known ones


# May raise ``CatalogUnavailable``.
Query: TypeAlias = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]


def alias_in(path: str) -> str:
    """Return the alias in a path as it was sent: percent-encoded UTF-8, in which ``/`` may stand as it is.

    Raises ``InvalidAlias`` for anything else than 1 to 850 bytes without NUL.
    """
    try:
        data = unquote_to_bytes(path.removeprefix(PATH))  # raises for a lone surrogate, a byte that was no UTF-8
        alias = data.decode()
    except UnicodeError:
        raise InvalidAlias from None
    if not 1 <= len(data) <= _LONGEST or "\0" in alias:
        raise InvalidAlias
    return alias


@dataclass(eq=False, slots=True)
class Aliases:
    """Finds the image whose alias a text is now.

    What was found needs no invalidation: an image is used only if its row, as the resolver has it, still has the alias.
    So an alias that moves to another row is that row's as soon as the change is heard. An unknown alias is remembered
    for ``unknown_ttl`` seconds.

    ids_of: returns the ids of the images that may be served, by their aliases.
    aliases_of: returns the aliases of rows by the ids of their images, also of rows that are not served.
    """

    ids_of: Query
    aliases_of: Query
    resolver: UrlResolver
    settings: Live[UrlCacheSettings]
    unknown_ttl: float
    now: Callable[[], float]
    _ids: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False)
    _aliases: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False)  # by id, the last one
    _unknown_until: OrderedDict[str, float] = field(default_factory=OrderedDict, init=False)
    _look_ups: GroupedCalls[tuple[str, int], str] = field(init=False)

    def __post_init__(self) -> None:
        self._look_ups = GroupedCalls("alias-look-up", self._look_up)

    async def image_of(self, alias: str) -> str:
        """Return the id of the image. Raises ``ImageNotFound`` or ``CatalogUnavailable``."""
        if self._unknown_until.get(alias, 0.0) > self.now():
            raise ImageNotFound("no image has the alias")
        if (image_id := self._ids.get(alias)) is not None:
            self._ids.move_to_end(alias)
            with suppress(ImageNotFound):
                found = self.resolver.get_cached(image_id) or await self.resolver.look_up(image_id)
                if found.image.record.alias == alias:
                    return image_id
        # With the number of the last change: a call joins no look-up that began before a change was heard.
        return await self._look_ups.run((alias, self.resolver.local.mark()))

    async def of_images(self, image_ids: Sequence[str]) -> Mapping[str, Collection[str]]:
        """Return the aliases by which images were found last, and those that their rows have now.

        Raises ``CatalogUnavailable``.
        """
        found = {image_id: {self._aliases[image_id]} for image_id in image_ids if image_id in self._aliases}
        for image_id, alias in (await self.aliases_of(image_ids)).items():
            found.setdefault(image_id, set()).add(alias)
        return found

    async def close(self) -> None:
        """Cancel running look-ups."""
        await self._look_ups.close()

    async def _look_up(self, wanted: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], str | Exception]:
        began = self.now()
        found = await self.ids_of(list({alias for alias, _ in wanted}))
        results: dict[tuple[str, int], str | Exception] = {}
        for key in wanted:
            alias, _ = key
            image_id = found.get(alias)
            if image_id is not None:
                self._keep(alias, image_id)
            else:
                self._ids.pop(alias, None)
                self._unknown_until[alias] = began + self.unknown_ttl
                if len(self._unknown_until) > max(1, self.settings.value.max_size // _UNKNOWN_SHARE):
                    self._unknown_until.popitem(last=False)
            results[key] = image_id or ImageNotFound("no image has the alias")
        return results

    def _keep(self, alias: str, image_id: str) -> None:
        """Keep the id and the alias, and drop the least recently used beyond the number of cached URLs."""
        self._unknown_until.pop(alias, None)
        self._ids[alias], self._aliases[image_id] = image_id, alias
        for kept, key in ((self._ids, alias), (self._aliases, image_id)):
            kept.move_to_end(key)
            while len(kept) > self.settings.value.max_size:
                kept.popitem(last=False)
