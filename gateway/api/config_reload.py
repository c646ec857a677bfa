"""``POST /api/v1/config/reload``: reload the configuration, as SIGHUP does."""

from aiohttp import web

from gateway.api.json_responses import success
from gateway.errors import ConfigurationRefused, ReloadImpossible
from gateway.process.reloader import Reloader, ReloadNotPossible, ReloadRefused


class ConfigReload:
    """Reloads by the ``reloader``."""

    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader

    async def reload(self, _: web.Request) -> web.Response:
        """Reload, and return the keys that changed and the keys that need a restart."""
        try:
            result = await self._reloader.reload()
        except ReloadRefused as error:
            raise ConfigurationRefused(f"{ConfigurationRefused.message}: {error}") from error
        except ReloadNotPossible as error:
            raise ReloadImpossible(str(error)) from error
        return success(
            {"changed": list(result.changed), "needs_restart": list(result.need_restart)},
            "the configuration is reloaded",
        )
