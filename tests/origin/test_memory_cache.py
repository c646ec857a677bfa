"""What the process keeps of objects: bounded, and forgotten when an image changes."""

from gateway.catalog.record import ImageRecord
from gateway.metrics.collectors import Metrics
from gateway.origin.memory_cache import Entry, ObjectCache
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signed_image import PresignedUrl, SignedImage
from gateway.settings import MemoryCacheSettings
from tests.signed_images import signed_image
from tests.tier import Clock


def image(key: str, image_id: str = "id", style: str | None = None) -> SignedImage:
    """One whose object has that key."""
    record = ImageRecord(image_id, None, True, "b-1", "r", key, None)
    return signed_image(record, PresignedUrl("http://cos/", 0, 0), style)


A, B, C = (image(key) for key in "abc")


def metadata(size: int, etag: str | None = '"1"', content_type: str = "image/png") -> ObjectMetadata:
    """Of an object of so many bytes."""
    return ObjectMetadata(size, etag, None, content_type, None)


def cache(clock: Clock | None = None, **settings: int) -> ObjectCache:
    """An empty one."""
    return ObjectCache(MemoryCacheSettings.model_validate(settings), Metrics(), monotonic=clock or Clock())


def body_of(kept: ObjectCache, one: SignedImage) -> bytes | None:
    """The bytes that are kept of the image's object."""
    entry = kept.get(one)
    return entry.body if entry is not None else None


def learn(kept: ObjectCache, one: SignedImage, told: ObjectMetadata, body: bytes | None = None) -> Entry:
    """COS is asked and answers in the same moment."""
    return kept.learn(one.object_id, told, kept.now(), body)


def test_the_bytes_used_longest_ago_go_first_and_facts_stay() -> None:
    kept = cache(max_bytes=20, max_object_bytes=10)
    for one in (A, B):
        learn(kept, one, metadata(10), b"x" * 10)
    assert body_of(kept, A) is not None
    learn(kept, C, metadata(10), b"x" * 10)
    assert [body_of(kept, one) is not None for one in (A, B, C)] == [True, False, True]
    assert kept.get(B) is not None


def test_what_is_too_large_is_not_kept() -> None:
    kept = cache(max_bytes=20, max_object_bytes=10)
    assert [kept.takes(size) for size in (None, 0, 10, 11)] == [False, True, True, False]
    learn(kept, A, metadata(11), b"x" * 11)
    assert body_of(kept, A) is None
    assert not cache(max_bytes=0).takes(0)


def test_bytes_stay_while_the_version_does() -> None:
    kept = cache()
    learn(kept, A, metadata(1), b"x")
    learn(kept, A, metadata(1))
    assert body_of(kept, A) == b"x"
    learn(kept, A, metadata(1, '"2"'))
    assert body_of(kept, A) is None
    learn(kept, B, metadata(1, None), b"x")
    learn(kept, B, metadata(1, None))
    assert body_of(kept, B) is None  # without an ETag there is no telling


def test_age_counts_from_when_cos_was_last_asked() -> None:
    clock = Clock()
    kept = cache(clock)
    entry = learn(kept, A, metadata(1), b"x")
    clock.now += 5
    assert kept.age(entry) == 5
    asked_at = clock.now
    clock.now += 1
    kept.answered(A.object_id, 304, entry.metadata, asked_at)
    assert kept.age(entry) == 1
    clock.now += 5
    assert kept.age(learn(kept, A, metadata(1))) == 0


def test_a_304_of_another_version_or_type_confirms_nothing() -> None:
    clock = Clock()
    kept = cache(clock)
    entry = learn(kept, A, metadata(1), b"x")
    clock.now += 5
    for told in (metadata(1, '"2"'), metadata(1, None), metadata(1, content_type="image/webp")):
        kept.answered(A.object_id, 304, told, clock.now)
        assert kept.age(entry) == 5


def test_what_was_asked_for_earlier_does_not_outdo_what_was_asked_for_later() -> None:
    clock = Clock()
    kept = cache(clock)
    earlier = clock.now
    clock.now += 1
    learn(kept, A, metadata(1, '"new"'), b"x")
    kept.learn(A.object_id, metadata(2, '"old"'), earlier, b"yy")
    kept.answered(A.object_id, 200, metadata(2, '"old"'), earlier)
    assert body_of(kept, A) == b"x"


def test_bytes_that_arrive_late_are_kept_if_they_still_are_of_the_version_that_is_known() -> None:
    """A large body takes a while, and meanwhile somebody asks for the head, or for a part."""
    clock = Clock()
    kept = cache(clock)
    asked_at = clock.now
    clock.now += 5
    entry = learn(kept, A, metadata(1))
    kept.learn(A.object_id, metadata(1), asked_at, b"x")
    assert body_of(kept, A) == b"x"
    assert kept.age(entry) == 0


def test_an_image_that_changed_takes_nothing_from_before_in_any_style() -> None:
    clock = Clock()
    kept = cache(clock)
    thumb = image("a", style="thumb")
    learn(kept, A, metadata(1), b"x")
    learn(kept, thumb, metadata(1), b"y")
    learn(kept, image("b", "another"), metadata(1), b"z")
    asked_before = clock.now
    clock.now += 1
    kept.drop("id")
    assert [kept.get(one) is not None for one in (A, thumb, image("b", "another"))] == [False, False, True]
    kept.learn(A.object_id, metadata(1), asked_before, b"x")  # an answer that was under way
    assert kept.get(A) is None
    clock.now += 1
    learn(kept, A, metadata(1), b"x")
    assert body_of(kept, A) == b"x"


def test_every_image_of_an_object_can_drop_it() -> None:
    clock = Clock()
    kept = cache(clock)
    learn(kept, image("a", "one"), metadata(1), b"x")
    assert body_of(kept, image("a", "two")) == b"x"
    kept.drop("two")
    assert kept.get(image("a", "two")) is None


def test_the_number_of_objects_is_bounded() -> None:
    kept = cache()
    for number in range(20_001):
        learn(kept, image(str(number)), metadata(1))
    assert kept.get(image("0")) is None
    assert kept.get(image("1")) is not None


def test_changes_that_are_too_many_to_remember_count_for_every_image() -> None:
    clock = Clock()
    kept = cache(clock)
    learn(kept, A, metadata(1), b"x")
    clock.now += 1
    kept.drop("id")
    for number in range(20_000):
        clock.now += 1
        kept.drop(f"other-{number}")
    assert kept.get(A) is None
    learn(kept, A, metadata(1), b"x")
    assert kept.get(A) is not None
