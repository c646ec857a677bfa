"""The memory cache of objects is bounded, and drops the entry of an image that changes."""

from gateway.catalog.record import ImageRecord
from gateway.changes.change_log import ChangeLog
from gateway.objects.object_cache import Entry, ObjectCache
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import PresignedUrl, SignedImage
from gateway.service.metrics import Metrics
from gateway.settings import Live, MemoryCacheSettings
from tests.heard_changes import quiet_log
from tests.signed_images import signed_image
from tests.tier import Clock


def image(key: str, image_id: str = "id", style: str | None = None) -> SignedImage:
    """Return an image whose object has that key."""
    record = ImageRecord(image_id, None, True, "b-1", "r", key, None)
    return signed_image(record, PresignedUrl("http://cos/", 0, 0), style)


A, B, C = (image(key) for key in "abc")


def metadata(size: int, etag: str | None = '"1"', content_type: str = "image/png") -> ObjectMetadata:
    """Return the metadata of an object of ``size`` bytes."""
    return ObjectMetadata(size, etag, None, content_type, None)


def cache(clock: Clock | None = None, log: ChangeLog | None = None, **settings: int) -> ObjectCache:
    """Return an empty cache."""
    return ObjectCache(
        Live(MemoryCacheSettings.model_validate(settings)),
        Metrics().origin,
        log or quiet_log(),
        steady=clock or Clock(),
    )


def body_of(kept: ObjectCache, signed: SignedImage) -> bytes | None:
    """Return the bytes in the cache of the image's object."""
    entry = kept.get(signed)
    return entry.body if entry is not None else None


def update(kept: ObjectCache, signed: SignedImage, answer: ObjectMetadata, body: bytes | None = None) -> Entry:
    """Store an answer of COS that took no time."""
    return kept.update(signed.object_id, answer, kept.now(), body)


def test_the_least_recently_used_bytes_are_evicted_and_their_metadata_stays() -> None:
    kept = cache(max_bytes=20, max_object_bytes=10)
    for signed in (A, B):
        update(kept, signed, metadata(10), b"x" * 10)
    assert body_of(kept, A) is not None
    update(kept, C, metadata(10), b"x" * 10)
    assert [body_of(kept, signed) is not None for signed in (A, B, C)] == [True, False, True]
    assert kept.get(B) is not None


def test_a_body_that_is_too_large_is_not_kept() -> None:
    kept = cache(max_bytes=20, max_object_bytes=10)
    assert [kept.accepts(size) for size in (None, 0, 10, 11)] == [False, True, True, False]
    update(kept, A, metadata(11), b"x" * 11)
    assert body_of(kept, A) is None
    assert not cache(max_bytes=0).accepts(0)


def test_bytes_stay_while_their_version_is_current() -> None:
    kept = cache()
    update(kept, A, metadata(1), b"x")
    update(kept, A, metadata(1))
    assert body_of(kept, A) == b"x"
    update(kept, A, metadata(1, '"2"'))
    assert body_of(kept, A) is None
    update(kept, B, metadata(1, None), b"x")
    update(kept, B, metadata(1, None))
    assert body_of(kept, B) is None  # without an ETag the version is unknown


def test_age_counts_from_the_last_request_to_cos() -> None:
    clock = Clock()
    kept = cache(clock)
    entry = update(kept, A, metadata(1), b"x")
    clock.now += 5
    assert kept.age(entry) == 5
    requested_at = clock.now
    clock.now += 1
    kept.answered(A.object_id, 304, entry.metadata, requested_at)
    assert kept.age(entry) == 1
    clock.now += 5
    assert kept.age(update(kept, A, metadata(1))) == 0


def test_a_304_of_another_version_or_type_confirms_nothing() -> None:
    clock = Clock()
    kept = cache(clock)
    entry = update(kept, A, metadata(1), b"x")
    clock.now += 5
    for answer in (metadata(1, '"2"'), metadata(1, None), metadata(1, content_type="image/webp")):
        kept.answered(A.object_id, 304, answer, clock.now)
        assert kept.age(entry) == 5


def test_the_answer_to_an_earlier_request_does_not_replace_that_to_a_later_one() -> None:
    clock = Clock()
    kept = cache(clock)
    earlier = clock.now
    clock.now += 1
    update(kept, A, metadata(1, '"new"'), b"x")
    kept.update(A.object_id, metadata(2, '"old"'), earlier, b"yy")
    kept.answered(A.object_id, 200, metadata(2, '"old"'), earlier)
    assert body_of(kept, A) == b"x"


def test_late_bytes_are_kept_if_they_are_of_the_current_version() -> None:
    """A large body takes a while, and a HEAD or a range request may be answered before its end."""
    clock = Clock()
    kept = cache(clock)
    requested_at = clock.now
    clock.now += 5
    entry = update(kept, A, metadata(1))
    kept.update(A.object_id, metadata(1), requested_at, b"x")
    assert body_of(kept, A) == b"x"
    assert kept.age(entry) == 0


def test_an_image_that_changed_uses_no_earlier_answer_in_any_style() -> None:
    clock, log = Clock(), quiet_log()
    kept = cache(clock, log)
    thumb = image("a", style="thumb")
    update(kept, A, metadata(1), b"x")
    update(kept, thumb, metadata(1), b"y")
    update(kept, image("b", "another"), metadata(1), b"z")
    requested_before = clock.now
    clock.now += 1
    log.image_changed("id", clock())
    assert [kept.get(signed) is not None for signed in (A, thumb, image("b", "another"))] == [False, False, True]
    kept.update(A.object_id, metadata(1), requested_before, b"x")  # an answer to a request from before the change
    assert kept.get(A) is None
    clock.now += 1
    update(kept, A, metadata(1), b"x")
    assert body_of(kept, A) == b"x"


def test_the_number_of_objects_is_bounded() -> None:
    kept = cache()
    for number in range(20_001):
        update(kept, image(str(number)), metadata(1))
    assert kept.get(image("0")) is None
    assert kept.get(image("1")) is not None
