"""Errors of requests, which the client has to change."""

from collections.abc import Mapping

from gateway.errors.base import GatewayError, retry_after_field


class InvalidRequest(GatewayError):
    """The request itself is wrong. The client reads ``detail``, so ``detail`` must not echo raw input."""

    status = 400
    code = "invalid_request"
    message = "the request is not valid"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.message)
        self._detail = detail or self.message

    @property
    def client_message(self) -> str:
        """The detail, if there is one."""
        return self._detail


class ConfigurationRefused(InvalidRequest):
    """A reload has read a configuration with mistakes. The detail names the keys, and no values."""

    code = "configuration_refused"
    message = "the new configuration is refused, the old one stays"


class InvalidImageId(InvalidRequest):
    """The id is not 1 to 128 of ``A-Z a-z 0-9 . _ : @ -`` with a letter or digit first."""

    code = "invalid_image_id"
    message = "an image id is 1 to 128 of A-Z a-z 0-9 . _ : @ - and starts with a letter or digit"


class InvalidBeacon(InvalidRequest):
    """The body is not the report of a browser in the form that ``/openapi.json`` describes."""

    code = "invalid_beacon"
    message = "the body is not a beacon of version 1"


class UnknownStyle(InvalidRequest):
    """``?style=`` names a style that ``image_styles`` does not have."""

    code = "unknown_style"
    message = "there is no image style of that name"


class UnknownWidth(InvalidRequest):
    """The style has no widths, or ``w`` times ``dpr`` is none of them (``image_variants.unknown_width: reject``)."""

    code = "unknown_width"
    message = "the style does not have that width"


class UnknownFormat(InvalidRequest):
    """``format`` is no format of the style, or ``format`` is ``auto`` without ``image_variants.negotiate: accept``."""

    code = "unknown_format"
    message = "the style does not have that format"


class Unauthorized(GatewayError):
    """A required credential is missing, or a credential is not valid (RFC 9110 section 15.5.2)."""

    status = 401
    code = "unauthorized"
    message = "valid credentials are needed"

    @property
    def headers(self) -> Mapping[str, str]:
        """The challenge that RFC 9110 section 11.6.1 requires with every 401."""
        return {"WWW-Authenticate": 'Bearer realm="image-gateway"'}


class Forbidden(GatewayError):
    """The configuration allows this request to no caller (RFC 9110 section 15.5.4)."""

    status = 403
    code = "forbidden"
    message = "changes need admin.token, which is not configured"


class ForeignHost(GatewayError):
    """The ``Host`` of a request to the admin port is no name of the admin port."""

    status = 403
    code = "foreign_host"
    message = "the host must be localhost, an IP address, admin.host or one of admin.allowed_hosts"


class RouteNotFound(GatewayError):
    """No route has this path."""

    status = 404
    code = "not_found"
    message = "there is nothing at this address"


class MethodNotAllowed(GatewayError):
    """The route does not support the method (RFC 9110 section 15.5.6)."""

    status = 405
    code = "method_not_allowed"
    message = "this address does not support that method"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"allowed: {allowed}")
        self._allowed = allowed

    @property
    def headers(self) -> Mapping[str, str]:
        """The methods that the route supports."""
        return {"Allow": self._allowed}


class ReloadImpossible(GatewayError):
    """A reload is not possible: this process has no configuration file, or it drains."""

    status = 409
    code = "reload_impossible"
    message = "this process does not reload its configuration: it drains, or it was not started with one"


class RequestTimeout(GatewayError):
    """The client did not send its request in time (RFC 9110 section 15.5.9)."""

    status = 408
    code = "request_timeout"
    message = "the request did not arrive in time"

    @property
    def headers(self) -> Mapping[str, str]:
        """Close the connection: the rest of the request is not read."""
        return {"Connection": "close"}


class PayloadTooLarge(GatewayError):
    """The request body is larger than any valid body."""

    status = 413
    code = "payload_too_large"
    message = "the request body is too large"


class UnsupportedMediaType(GatewayError):
    """The body is of a type that the address does not accept (RFC 9110 section 15.5.16)."""

    status = 415
    code = "unsupported_media_type"
    message = "the body must be text/plain or application/json"


class TooManyRequests(GatewayError):
    """The client made too many requests of this kind (RFC 6585 section 4). The next is allowed in ``wait`` seconds."""

    status = 429
    code = "too_many_requests"
    message = "too many requests, try again in a moment"

    def __init__(self, reason: str, *, wait: float = 1) -> None:
        super().__init__(reason)
        self._wait = wait

    @property
    def headers(self) -> Mapping[str, str]:
        """Retry-After in whole seconds, at least 1 and at most 60."""
        return {"Retry-After": retry_after_field(self._wait)}


class UnknownTransferCoding(GatewayError):
    """The body has another transfer coding than ``chunked`` (RFC 9112 section 6.1). Any client can send such a body."""

    status = 501
    code = "unknown_transfer_coding"
    message = "the only transfer coding is chunked"
    logs_each_request = False
