"""The two ports, and the log."""

from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import Field

from gateway.settings.base import Count, Networks, Reloaded, Restarted, Section, Timeout, Token, matches, require

# Empty text comes from a variable that was not filled in, and would open the port on every interface.
Host = Annotated[str, Field(min_length=1)]

# As browsers send it: a port that is the scheme's own is left out.
PageOrigin = Annotated[
    str,
    matches(
        r"(?!https.*:443$|http:.*:80$)https?://([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?",
        "an origin as browsers send it, such as https://www.example.com",
    ),
]


class ServerSettings(Section):
    """The public port, for clients, proxies and CDNs."""

    host: Restarted[Host] = "0.0.0.0"  # noqa: S104 - clients connect from other machines
    port: Restarted[int] = Field(8080, ge=0, le=65535)
    reuse_port: Restarted[bool] = False
    shutdown_grace: Reloaded[float] = Field(30, ge=0, le=3600)
    keepalive_timeout: Restarted[Timeout] = 130
    max_streams: Restarted[Count] = 1000
    trusted_proxies: Reloaded[Networks] = ()
    cors_origins: Reloaded[tuple[PageOrigin, ...]] = ()
    ready_without_stores: Reloaded[bool] = True
    ready_without_rows: Reloaded[bool] = True


HostName = Annotated[str, matches(r"(?i)[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "the name of a host, without a port")]
AdminToken = Annotated[
    Token,  # a shorter one can be guessed
    require(
        lambda token: len(token.get_secret_value()) >= 16, "must have at least 16 characters; null: there is no admin"
    ),
]


class AdminSettings(Section):
    """The admin port, for operators and Prometheus."""

    host: Restarted[Host] = "127.0.0.1"
    port: Restarted[int] = Field(9090, ge=0, le=65535)
    token: Reloaded[AdminToken | None] = None
    allowed_hosts: Restarted[tuple[HostName, ...]] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which clients may call the port."""
        return (self.host, *self.allowed_hosts)


AuditTarget = Annotated[str, matches(r"-|/[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f]", "- or the whole path of a file")]


class LoggingSettings(Section):
    """The log on standard error, and the audit log."""

    level: Reloaded[Literal["debug", "info", "warning", "error"]] = "info"
    format: Restarted[Literal["json", "console"]] = "json"
    access: Reloaded[bool] = True
    access_sample: Reloaded[float] = Field(1.0, ge=0, le=1)  # the share of requests that get a line of ``access``
    audit: Reloaded[AuditTarget | None] = None  # a file, or ``-`` for standard error


def _can_trace(enabled: bool) -> bool:
    try:
        return not enabled or find_spec("opentelemetry.exporter.otlp.proto.http.trace_exporter") is not None
    except ImportError:  # a parent package is missing
        return False


TracingIsOn = Annotated[bool, require(_can_trace, "needs the extra otel: pip install 'image-gateway[otel]'")]


class TracingSettings(Section):
    """Traces by OpenTelemetry. The OTEL_* variables of OpenTelemetry configure the export."""

    enabled: Restarted[TracingIsOn] = False
