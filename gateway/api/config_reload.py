"""``POST /api/v1/config/reload``: reload the configuration, as SIGHUP does."""

from aiohttp import web

from gateway.api.admin import admin_only
from gateway.api.app_keys import RELOADER
from gateway.api.json_responses import success
from gateway.errors import ConfigurationRefused, ReloadImpossible
from gateway.process.reloader import ReloadNotPossible, ReloadRefused


@admin_only
async def reload(request: web.Request) -> web.Response:
    """Reload; return the keys that changed, and those that need a restart."""
    try:
        result = await request.app[RELOADER].reload()
    except ReloadRefused as error:
        raise ConfigurationRefused(f"{ConfigurationRefused.message}: {error}") from error
    except ReloadNotPossible as error:
        raise ReloadImpossible(str(error)) from error
    return success(
        {"changed": list(result.changed), "needs_restart": list(result.need_restart)}, "the configuration is reloaded"
    )
