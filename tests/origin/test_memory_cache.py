"""What the process keeps of objects: bounded, and forgotten when an image changes."""

from gateway.metrics import Metrics
from gateway.origin.facts import ObjectFacts
from gateway.origin.memory_cache import ObjectCache
from gateway.settings import MemoryCacheSettings
from gateway.urls.presigned import ObjectId
from tests.urls.conftest import Clock

A, B, C = (ObjectId("b-1", "r", key, None) for key in "abc")


def facts(size: int, etag: str | None = '"1"') -> ObjectFacts:
    """Of an object of so many bytes."""
    return ObjectFacts(size, etag, None, "image/png", None)


def cache(clock: Clock | None = None, **settings: int) -> ObjectCache:
    """An empty one."""
    return ObjectCache(MemoryCacheSettings.model_validate(settings), Metrics(), monotonic=clock or Clock())


def body_of(kept: ObjectCache, object_id: ObjectId) -> bytes | None:
    """The bytes that are kept of the object."""
    entry = kept.get(object_id)
    return entry.body if entry is not None else None


def test_the_bytes_used_longest_ago_go_first_and_facts_stay() -> None:
    kept = cache(max_bytes=20, max_object_bytes=10)
    for object_id in (A, B):
        kept.learn(object_id, "id", facts(10), b"x" * 10)
    assert body_of(kept, A) is not None
    kept.learn(C, "id", facts(10), b"x" * 10)
    assert [body_of(kept, one) is not None for one in (A, B, C)] == [True, False, True]
    assert kept.get(B) is not None


def test_what_is_too_large_is_not_kept() -> None:
    kept = cache(max_bytes=20, max_object_bytes=10)
    assert [kept.takes(size) for size in (None, 10, 11)] == [False, True, False]
    kept.learn(A, "id", facts(11), b"x" * 11)
    assert body_of(kept, A) is None
    assert not cache(max_bytes=0).takes(1)


def test_bytes_stay_while_the_version_does() -> None:
    kept = cache()
    kept.learn(A, "id", facts(1), b"x")
    kept.learn(A, "another-id", facts(1))
    assert body_of(kept, A) == b"x"
    kept.learn(A, "id", facts(1, '"2"'))
    assert body_of(kept, A) is None
    kept.learn(B, "id", facts(1, None), b"x")
    kept.learn(B, "another-id", facts(1, None))
    assert body_of(kept, B) is None  # without an ETag there is no telling


def test_age_counts_from_when_cos_last_vouched_for_it() -> None:
    clock = Clock()
    kept = cache(clock)
    entry = kept.learn(A, "id", facts(1), b"x")
    clock.now += 5
    assert kept.age(entry) == 5
    kept.answered(A, "id", 304, entry.facts)
    assert kept.age(entry) == 0
    clock.now += 5
    assert kept.age(kept.learn(A, "id", facts(1))) == 0


def test_an_image_that_changed_is_forgotten_in_every_style_and_under_every_id() -> None:
    kept = cache()
    thumb = A._replace(style="thumb")
    kept.learn(A, "one", facts(1), b"x")
    kept.learn(A, "two", facts(1), b"x")
    kept.learn(thumb, "one", facts(1), b"y")
    kept.learn(B, "three", facts(1), b"z")
    kept.drop("one")
    assert [kept.get(one) is not None for one in (A, thumb, B)] == [False, False, True]
    kept.drop("two")
    kept.drop("never-there")
    kept.forget(A)


def test_the_number_of_objects_is_bounded() -> None:
    kept = cache()
    for number in range(20_001):
        kept.learn(A._replace(key=str(number)), f"id-{number}", facts(1))
    assert kept.get(A._replace(key="0")) is None
    assert kept.get(A._replace(key="1")) is not None
