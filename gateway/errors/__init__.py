"""Every error that a client can see, one class each.

Each adapter raises these in place of its library's exceptions; ``gateway.server.error_responses`` alone maps them to
responses. docs/errors.md describes each for operators.
"""

from gateway.errors.base import (
    CosAnswer,
    DependencyDown,
    GatewayError,
)
from gateway.errors.images import (
    AccelNotConfigured,
    ImageBlocked,
    ImageNotFound,
    NotAnImage,
    OriginRefused,
    OriginTimeout,
    OriginUnavailable,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from gateway.errors.requests import (
    Forbidden,
    InvalidBeacon,
    InvalidImageId,
    InvalidRequest,
    MethodNotAllowed,
    PayloadTooLarge,
    RequestTimeout,
    RouteNotFound,
    TooManyRequests,
    Unauthorized,
    UnknownFormat,
    UnknownStyle,
    UnknownWidth,
    UnsupportedMediaType,
)
from gateway.errors.unavailable import (
    CatalogUnavailable,
    CredentialsExpired,
    NoCredentials,
    OriginPaused,
    OriginThrottled,
    Overloaded,
    RedisUnavailable,
    TooManyVariants,
    Unavailable,
)

__all__ = [
    "AccelNotConfigured",
    "CatalogUnavailable",
    "CosAnswer",
    "CredentialsExpired",
    "DependencyDown",
    "Forbidden",
    "GatewayError",
    "ImageBlocked",
    "ImageNotFound",
    "InvalidBeacon",
    "InvalidImageId",
    "InvalidRequest",
    "MethodNotAllowed",
    "NoCredentials",
    "NotAnImage",
    "OriginPaused",
    "OriginRefused",
    "OriginThrottled",
    "OriginTimeout",
    "OriginUnavailable",
    "Overloaded",
    "PayloadTooLarge",
    "PreconditionFailed",
    "RangeNotSatisfiable",
    "RedisUnavailable",
    "RequestTimeout",
    "RouteNotFound",
    "TooManyRequests",
    "TooManyVariants",
    "Unauthorized",
    "Unavailable",
    "UnknownFormat",
    "UnknownStyle",
    "UnknownWidth",
    "UnsupportedMediaType",
]
