"""The level `debug` for ten minutes, for an operator who looks for a cause."""

import asyncio
import logging
import time
from typing import Final

logger = logging.getLogger(__name__)

SECONDS: Final = 600


class DebugLog:
    """Sets the root logger to ``DEBUG``, and back to its level before after ``seconds``, or when it is stopped."""

    def __init__(self, seconds: float = SECONDS) -> None:
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
