"""Cache-Control of each kind of answer."""

import pytest

from gateway.delivery.cache_policy import CachePolicy

DEFAULT = CachePolicy(600, "Authorization", stale_while_revalidate=300, stale_if_error=86_400)
EACH = DEFAULT._replace(shared_max_age=6000)


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        (DEFAULT, "public, max-age=600, stale-while-revalidate=300, stale-if-error=86400"),
        (EACH, "public, max-age=600, s-maxage=6000, stale-while-revalidate=300, stale-if-error=86400"),
        (DEFAULT._replace(stale_while_revalidate=0, stale_if_error=0), "public, max-age=600"),
        (
            DEFAULT._replace(max_age=0, shared_max_age=0, stale_if_error=0),
            "public, max-age=0, s-maxage=0, stale-while-revalidate=300",
        ),
        (EACH.for_version(), "public, max-age=31536000, immutable"),
        (EACH.for_substitute(), "public, max-age=60, s-maxage=60"),
        (EACH.for_version().for_substitute(), "public, max-age=60"),
        (EACH.within(5), "public, max-age=5, s-maxage=5"),
        (DEFAULT.within(1000), "public, max-age=600"),
        (EACH.for_unread(), "public, max-age=5"),
        (EACH.for_unread().for_version(), "public, max-age=5"),
        (EACH.for_version().for_substitute().for_unread(), "public, max-age=5"),
        (EACH.for_unread().within(3), "public, max-age=3"),
    ],
)
def test_a_shared_cache_may_keep_public_images_only(policy: CachePolicy, value: str) -> None:
    assert policy.cache_control(public=True) == value
    private = policy.cache_control(public=False)
    if policy.unread:
        assert private == "private, no-store"
        return
    assert private == f"private, max-age={policy.max_age}{', immutable' if policy.immutable else ''}"
