"""A gauge that is absent while its value is not known."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class OptionalGauge(Collector):
    """A gauge without labels, which has no sample before ``set`` and after ``clear``.

    It is for values that are read elsewhere. While such a value cannot be read, an old value would look current.
    """

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._documentation = documentation
        self._value: float | None = None

    def set(self, value: float) -> None:
        """Export this value from now on."""
        self._value = value

    def clear(self) -> None:
        """Export no value from now on."""
        self._value = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the value, if it is known."""
        yield GaugeMetricFamily(self._name, self._documentation, value=self._value)

    describe = collect  # so the registry refuses another collector of this name
