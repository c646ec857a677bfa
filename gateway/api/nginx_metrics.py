"""The metrics of nginx: its questions for changes, what it forgot, and which of its files are in use."""

from typing import Literal, TypeAlias, get_args

from gateway.metrics.nginx_last_asked import NginxLastAsked
from gateway.metrics.registry import Registry

# Why nginx raised its floor, and with it forgot every copy: it started, it may have missed changes, or its memory of
# epochs was full.
FloorReason: TypeAlias = Literal["start", "gap", "full", "settings"]


class NginxMetrics:
    """What nginx asks and reports, and mistakes of its configuration."""

    def __init__(self, registry: Registry) -> None:
        self.accel_not_configured = registry.counter(
            "accel_not_configured", "Requests with image_proxy.delivery accel that came without accel.conf of nginx."
        )
        self.nginx_config_mismatches = registry.loop_counter(
            "nginx_config_mismatches", "Requests for images through nginx files of another release."
        )
        self.nginx_misdirected = registry.loop_counter(
            "nginx_misdirected",
            "Questions of nginx for changes that came to the public port, which has no answer.",
        )
        self.nginx_asked = NginxLastAsked()
        registry.register(self.nginx_asked)
        self.nginx_epochs = registry.counter(
            "nginx_epochs", "Changes that made an nginx forget its copies of an image."
        )
        self.nginx_floors = registry.counter(
            "nginx_floors",
            "Times that an nginx forgot every copy: it started, may have missed changes ('gap'), its zone was full, or "
            "a gateway started with other styles or variants, another bucket or table ('settings').",
            ("reason",),
            get_args(FloorReason),
        )
