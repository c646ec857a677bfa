"""Entries of version 4: read, so that both versions run side by side, and never misread."""

import hmac
import json
from typing import Any

import pytest
import redis

from gateway.presign.lifetime import Lifetime
from gateway.presign.signed_image import ImageVariant, SignedImage
from gateway.redis_store.entry_codec import EntryMac
from gateway.redis_store.entry_v4 import decode_v4, is_v4
from gateway.redis_store.url_entries import Found
from tests.tier import MAC, NOW, RENDITIONS, Tier, record

A, KEY = ImageVariant("a"), "image:url:a"


def written(image: SignedImage, mac_secret: str | None = None, **changes: object) -> bytes:
    """The entry as a build of version 4 writes it; without ``mac_secret``, with the secret of the tier."""
    row = image.record
    entry = {
        "v": 4,
        "id": row.image_id,
        "rendition": image.rendition,
        "owner": row.owner,
        "public": row.public,
        "bucket": row.bucket,
        "region": row.region,
        "key": row.key,
        "type": row.content_type,
        "url": image.presigned.url,
        "signed_at": image.presigned.signed_at,
        "read_at": image.read_at,
        "killed": row.links_killed,
    }
    body = json.dumps(entry | changes, separators=(",", ":")).encode()
    unsigned = b"%d %b" % (image.presigned.expires_at, body)
    key = hmac.digest((mac_secret or "y").encode(), b"image-gateway: entries of the URL cache", "sha256")
    mac = hmac.digest(key, unsigned, "sha256").hex()[:32].encode()
    return b"%d %b %b" % (image.presigned.expires_at, mac, body)


async def test_an_entry_of_version_4_is_used_and_left_there(tier: Tier, redis_client: "redis.Redis") -> None:
    for style, key in ((None, KEY), ("thumb", f"{KEY}:thumb")):
        image = tier.signer.sign_image(record(), style, read_at=NOW)
        entry = written(image)
        redis_client.set(key, entry + b"\n-0123", ex=100)
        variant = ImageVariant("a", style)
        assert await tier.cache.get_many([variant]) == {variant: Found(image, b"-0123")}
        assert redis_client.get(key) == entry + b"\n-0123", "the other version may use it, too"


async def test_a_later_url_takes_its_place_and_an_earlier_one_does_not(tier: Tier, redis_client: "redis.Redis") -> None:
    tier.clock.now = NOW + 30
    there = tier.signer.sign_image(record(), fresh=True)
    redis_client.set(KEY, written(there), ex=100)
    for at, is_kept in ((NOW, False), (NOW + 31, True)):
        tier.clock.now = at
        image = tier.signer.sign_image(record(), read_at=NOW, fresh=True)
        assert await tier.cache.put_many([(image, b"")], at, Lifetime(3600, 60, 900)) == {A: is_kept}
    assert (await tier.cache.get_many([A]))[A].image == image


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "b"},
        {"rendition": "thumb"},
        {"v": 3},
        {"v": 5},
        {"url": "https://evil.example/a.png"},
        {"key": "b.png"},
        {"key": "/../"},
        {"signed_at": NOW - 10},
        {"ak": "x"},
    ],
    ids=str,
)
async def test_an_altered_one_is_removed(tier: Tier, redis_client: "redis.Redis", changes: dict[str, Any]) -> None:
    redis_client.set(KEY, written(tier.signer.sign_image(record(), read_at=NOW), **changes), ex=100)
    assert await tier.cache.get_many([A]) == {A: Found()}
    assert not redis_client.exists(KEY)


async def test_only_a_known_secret_counts(tier: Tier) -> None:
    image = tier.signer.sign_image(record(), read_at=NOW)
    entry = written(image, "an old secret")
    with pytest.raises(ValueError, match="not signed"):
        decode_v4(entry, A, MAC, tier.signer, RENDITIONS)
    assert decode_v4(entry, A, EntryMac("new", "an old secret"), tier.signer, RENDITIONS) == image


async def test_an_entry_of_this_version_is_not_taken_for_one(tier: Tier) -> None:
    for body in (b"{}", b"0" * 32 + b" {}"):
        assert not is_v4(MAC.sign(b"1700000000 " + body, A))
    assert is_v4(written(tier.signer.sign_image(record())))
