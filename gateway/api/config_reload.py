"""``POST /api/v1/config/reload``: reload the configuration, as SIGHUP does."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from gateway.api.json_responses import success
from gateway.errors import ConfigurationRefused, ReloadImpossible
from gateway.process.reloader import Difference, ReloadNotPossible, ReloadRefused


class ConfigReload:
    """``reload`` raises ``ReloadRefused`` or ``ReloadNotPossible``."""

    def __init__(self, reload: Callable[[], Awaitable[Difference[Any]]]) -> None:
        self._reload = reload

    async def reload(self, _: web.Request) -> web.Response:
        """Reload, and return the keys that changed and the keys that need a restart."""
        try:
            result = await self._reload()
        except ReloadRefused as error:
            raise ConfigurationRefused(f"{ConfigurationRefused.message}: {error}") from error
        except ReloadNotPossible as error:
            raise ReloadImpossible(str(error)) from error
        return success(
            {"changed": list(result.changed), "needs_restart": list(result.need_restart)},
            "the configuration is reloaded",
        )
