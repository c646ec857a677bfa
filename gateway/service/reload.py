"""The reload of the configuration: what reads it, and what it changes."""

from collections.abc import Callable, Sequence

from gateway.process.reloader import Difference, Part, Reloader, ReloadMetrics, ReloadRefused, Sources
from gateway.settings import Live, Settings
from gateway.settings.error_messages import SettingsError
from gateway.settings.reload_difference import difference


def make_reloader(
    live: Live[Settings],
    read_settings: Callable[[], Settings] | None,
    parts: Sequence[Part[Settings]],
    metrics: ReloadMetrics,
    is_draining: Callable[[], bool],
) -> Reloader[Settings]:
    """Return the reloader, which at each reload changes ``parts`` in this order, and then replaces the settings in use.

    read_settings: reads the sources again, and raises ``SettingsError`` if they are not valid. None: there are none.
    """
    return Reloader(
        live,
        Sources(_reading(read_settings)) if read_settings is not None else None,
        _compare,
        parts,
        metrics,
        is_draining=is_draining,
    )


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
        found = difference(old, new)
    except SettingsError as error:
        raise ReloadRefused(*error.problems) from error
    return Difference(found.settings, found.changed, found.need_restart)
