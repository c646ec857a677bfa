"""Settings of presigned URLs as tests state them: also combinations that no configuration may have."""

import random
from collections.abc import Callable

from gateway.presign.url_lifetime import Lifetime
from gateway.settings import Live, UrlCacheSettings, UrlPrerefreshSettings


def url_cache(ttl: int = 3600, *, window: int = 300, min_remaining: int = 60, max_size: int = 100) -> UrlCacheSettings:
    """Return the section ``url_cache``, unchecked."""
    return UrlCacheSettings.model_construct(
        default_ttl=ttl, sign_window=window, min_remaining=min_remaining, max_size=max_size
    )


def lifetime_of(ttl: int, min_remaining: int, threshold: int, random: Callable[[], float] = random.random) -> Lifetime:
    """Return the life of URLs under these settings."""
    renewal = UrlPrerefreshSettings.model_construct(threshold=threshold)
    return Lifetime(Live(url_cache(ttl, min_remaining=min_remaining)), Live(renewal), random)
