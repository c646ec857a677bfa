"""A circuit breaker: stop calling what has failed repeatedly."""


class CircuitBreaker:
    """Opens after ``failures`` failed calls in a row, and closes when a call has succeeded.

    Its owner finds out when to call again: see ``succeeded``.

    ``is_open`` (the last ``failures`` calls all failed) and ``has_failures`` (the last call failed) are plain
    attributes, so that reading them on every call costs nothing while all is well.
    """

    def __init__(self, *, failures: int = 3) -> None:
        self._limit = failures
        self._failures = 0
        self.is_open = False
        self.has_failures = False

    def succeeded(self) -> None:
        """Close: a call was answered."""
        self._failures = 0
        self.is_open = self.has_failures = False

    def failed(self, *, at_once: bool = False) -> None:
        """Count a failed call. ``at_once`` opens the breaker at this failure: the call used its whole time limit."""
        self._failures = max(self._failures + 1, self._limit if at_once else 0)
        self.has_failures = True
        self.is_open = self._failures >= self._limit
