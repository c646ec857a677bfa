"""The components that reload the configuration, as contexts."""

from collections.abc import AsyncIterator, Callable

from aiohttp import web

from gateway.api import app_keys
from gateway.process.reloader import Difference, Reloader, ReloadRefused
from gateway.service.reload_parts import parts
from gateway.settings import Settings
from gateway.settings.mistakes import SettingsError
from gateway.settings.reloading import difference


async def reloader(app: web.Application) -> AsyncIterator[None]:
    """Holds the settings in use, and reloads them if ``READ_SETTINGS`` is set; opens first."""
    app[app_keys.RELOADER] = Reloader(
        app[app_keys.SETTINGS],
        _reading(app[app_keys.READ_SETTINGS]) if app_keys.READ_SETTINGS in app else None,
        _compare,
        app[app_keys.METRICS],
        is_draining=lambda: app[app_keys.HEALTH].is_draining,
    )
    yield


async def reloading(app: web.Application) -> AsyncIterator[None]:
    """Lets reloads change the components, which are all open; closes first, after a running reload."""
    app[app_keys.RELOADER].add(*parts(app))
    yield
    await app[app_keys.RELOADER].finish()


def _reading(read: Callable[[], Settings]) -> Callable[[], Settings]:
    def read_or_refuse() -> Settings:
        try:
            return read()
        except SettingsError as error:
            raise ReloadRefused(*error.problems) from error
        except OSError as error:
            raise ReloadRefused(f"{error.filename}: {error.strerror or error}") from error

    return read_or_refuse


def _compare(old: Settings, new: Settings) -> Difference[Settings]:
    try:
        return Difference(*difference(old, new))
    except SettingsError as error:
        raise ReloadRefused(*error.problems) from error
