"""Set up the log of the process: its stream, its format, and the loggers of libraries."""

import asyncio
import logging
import time
from typing import Final

from gateway.process.log_format import ConsoleFormatter, JsonFormatter
from gateway.process.log_stream import LogOutput, LogStream, standard_error
from gateway.settings import LoggingSettings

logger = logging.getLogger(__name__)

DEBUG_SECONDS: Final = 600
_CLOSE_TIMEOUT: Final = 2.0  # seconds that the end of the process waits for the reader of the log


class LogHandler(logging.StreamHandler[LogOutput]):
    """Handler that writes the process's log to ``stream``. Each line names the ``worker``, unless that is None."""

    def __init__(self, stream: LogOutput, format_name: str, worker: int | None) -> None:
        super().__init__(stream)
        self.worker = worker
        if format_name == "json":
            self.setFormatter(JsonFormatter(worker))
        else:
            self.setFormatter(ConsoleFormatter(worker, colours=stream.isatty()))

    def close(self) -> None:
        """Write the lines that wait. ``logging`` calls this at the end of the process."""
        if isinstance(self.stream, LogStream):
            self.stream.close(_CLOSE_TIMEOUT)
        super().close()


def configure_logging(settings: LoggingSettings, stream: LogOutput | None = None, *, worker: int | None = None) -> None:
    """Write the log of the process to ``stream`` (None: standard error). ``worker``: its number among several."""
    root = logging.getLogger()
    root.handlers[:] = [LogHandler(stream if stream is not None else standard_error(), settings.format, worker)]
    root.setLevel(settings.level.upper())
    # Below WARNING, the SDK would log the strings it signs, and urllib3 logs the URLs it requests.
    for library in ("qcloud_cos", "urllib3", "asyncio"):
        logging.getLogger(library).setLevel(logging.WARNING)


def log_handler() -> LogHandler | None:
    """Return what ``configure_logging`` has installed, or None if it was not called."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, LogHandler)), None)


def worker_number() -> int | None:
    """Return the number of this process among several workers, or None without workers."""
    handler = log_handler()
    return handler.worker if handler is not None else None


def dropped_lines() -> int:
    """Return how many lines of the log of this process were lost."""
    handler = log_handler()
    return handler.stream.dropped if handler is not None and isinstance(handler.stream, LogStream) else 0


class DebugLog:
    """A switch for debug lines: sets the root logger to ``DEBUG`` for ``seconds``, or until it is stopped."""

    def __init__(self, seconds: float = DEBUG_SECONDS) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._level_before = logging.NOTSET
        self.until: float | None = None  # Unix seconds; None while it is off

    def start(self) -> None:
        """Switch the level. A second start restarts the time."""
        if self._timer is None:
            self._level_before = logging.getLogger().level
        else:
            self._timer.cancel()
        logging.getLogger().setLevel(logging.DEBUG)
        self.until = time.time() + self._seconds
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self.stop)
        logger.info("debug log on: seconds=%g", self._seconds)

    def set_level(self, level: int) -> None:
        """Set the root logger to ``level``, or when the debug log ends if it is on."""
        if self._timer is None:
            logging.getLogger().setLevel(level)
        else:
            self._level_before = level

    def stop(self) -> None:
        """Set the level back. Does nothing while the debug log is off."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = self.until = None
        logging.getLogger().setLevel(self._level_before)
        logger.info("debug log off")
