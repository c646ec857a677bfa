"""Run the gateway in this process: start, signals or orders of the supervisor, reloads, stop."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.catalog.postgres import CatalogQueryRefused
from gateway.commands.config_option import exit_with_mistakes
from gateway.concurrency.background import background
from gateway.delivery.fallback_picture import UnusablePicture
from gateway.metrics.registry import VERSION
from gateway.process.memory_tuning import release_free_memory, tune_memory
from gateway.process.signals import Signals
from gateway.process.stuck_loop import exit_when_stuck
from gateway.process.systemd import ServiceManager, inherited_listeners
from gateway.process.task_report import report_on_signal
from gateway.redis_connection.client import WrongRedis
from gateway.server.file_limit import raise_nofile_limit
from gateway.server.listener import PurePythonParser
from gateway.service.metrics import Metrics
from gateway.service.ports import Inherited, serve
from gateway.service.service import Service
from gateway.settings import Settings
from gateway.settings.sources import SettingsError, load_settings, settings_to_text

if TYPE_CHECKING:
    from gateway.workers.worker_channel import WorkerChannel

logger = logging.getLogger(__name__)


def serve_in_this_process(settings: Settings, config: Path | None, channel: "WorkerChannel | None") -> None:
    """Serve as ``run_until_stopped`` says, and reload the configuration on SIGHUP. Raises the same."""
    serve_settings = partial(_serve_settings, settings, partial(load_settings, config), channel)
    run_until_stopped(settings, serve_settings, reloads=True, channel=channel)


async def _serve_settings(
    settings: Settings, read_settings: Callable[[], Settings], channel: "WorkerChannel | None", signals: Signals
) -> None:
    if channel is None:
        manager, inherited = ServiceManager.from_environment(), Inherited(inherited_listeners())
    else:
        manager, inherited = channel.manager(), Inherited(channel.public, channel.admin, channel.guard)
    metrics = Metrics()
    report_on_signal(metrics.server.ports.clients)
    async with (
        background("watchdog", manager.show_life()),  # during the drain, too
        serve(settings, metrics, read_settings, inherited=inherited, force_stop=signals.force_stop) as serving,
    ):
        # Collections do not look at what was opened and stays, such as the tables of all URLs and images in memory.
        gc.freeze()
        # The supervisor logs the ports of all workers.
        level = logging.INFO if channel is None else logging.DEBUG
        logger.log(level, "listening: public=%s admin=%s", serving.ports.public, serving.ports.admin)
        if channel is not None:
            serving.service.settings.watch(lambda _, new: channel.send("SETTINGS", settings_to_text(new)))
            given = channel.assignment
            if given.settings is None:
                channel.send("SETTINGS", settings_to_text(settings))
            if given.ended is not None:  # the consoles of other replicas hear of it from this worker
                serving.service.metrics.events.add("worker_ended", worker=given.number, reason=given.ended)
            channel.send("VERSION", VERSION)
            asked = serving.service.metrics.nginx.nginx_asked
            channel.on_asked, asked.hears_all = asked.asks, given.tells_who_asks
            serving.service.changes.log.add_observer(channel.send_heard)
            channel.send_heard()  # from now on
        manager.ready()
        async with background("reload-on-signal", _reload_on_signal(serving.service, signals.reload, manager)):
            await signals.stop.wait()
        if channel is not None:
            channel.send("GRACE", f"{serving.service.settings.value.server.shutdown_grace:g}")
        manager.stopping()


async def _reload_on_signal(service: Service, wanted: asyncio.Event, manager: ServiceManager) -> None:
    """Reload once for all signals since the last reload began."""
    while True:
        await wanted.wait()
        wanted.clear()
        manager.reloading()
        outcome = "refused"
        with suppress(Exception):  # it is logged, and the old configuration stays
            await service.reloader.reload()
            outcome = "reloaded"
        await service.requests.audit.note("reload", "signal", outcome=outcome)
        manager.ready()


def run_until_stopped(
    settings: Settings,
    main: Callable[[Signals], Coroutine[Any, Any, None]],
    *,
    reloads: bool = False,
    channel: "WorkerChannel | None" = None,
) -> None:
    """Run ``main`` until SIGTERM or SIGINT stops it. A second signal ends the drain.

    SIGHUP makes it reload, or stop unless it ``reloads``. With a ``channel``, the supervisor sends the same orders.
    Raises ``click.ClickException`` if the gateway cannot start, and exits with ``BAD_SETTINGS`` if a file that the
    settings name cannot be used.
    """

    async def run() -> None:
        tune_memory()
        raise_nofile_limit(settings.server.max_streams)
        signals, loop = Signals(), asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            stack.enter_context(exit_when_stuck())
            if channel is None:
                signals.handle_stop()
                if reloads:
                    loop.add_signal_handler(signal.SIGHUP, signals.reload.set)
                # A closing terminal and its shell both send SIGHUP, so a second one does not force the stop. Ignoring
                # SIGHUP would leave the gateway and the servers of `dev` running without a terminal; nohup, which
                # ignores it, is respected.
                elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                    loop.add_signal_handler(signal.SIGHUP, signals.stop.set)
            else:
                await stack.enter_async_context(channel.obeying(signals))
            await stack.enter_async_context(background("memory-release", release_free_memory()))
            await main(signals)

    try:
        asyncio.run(run())
    except CatalogQueryRefused as error:
        advice = "check postgres.table, postgres.columns and the grants; the command `check` gives details"
        raise click.ClickException(f"the gateway cannot start: postgres: {error}; {advice}") from None
    except WrongRedis as error:
        raise click.ClickException(f"the gateway cannot start: redis: {error}") from None
    except UnusablePicture as error:
        exit_with_mistakes(SettingsError([str(error)]))
    except SettingsError as error:  # of a variable of OpenTelemetry
        exit_with_mistakes(error)
    except (OSError, PurePythonParser) as error:
        raise click.ClickException(f"the gateway cannot start: {error}") from None
