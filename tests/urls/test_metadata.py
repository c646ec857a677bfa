"""What COS is asked about images, and how often: bounds, changes, and the life of an answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.catalog.record import ImageMetadata, ImageRecord
from gateway.service.metrics import Metrics
from gateway.urls.metadata import PER_CLIENT, PER_MINUTE, MetadataLookup
from tests.waiting import until


class Describer:
    """COS, as far as it describes images, and a clock that the test moves."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.time = 1000.0
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.width = 800

    async def describe(self, record: ImageRecord) -> ImageMetadata | None:
        """Return the width at the time of the request, when answers are allowed."""
        self.asked.append(record.image_id)
        width = self.width
        await self.answers.wait()
        return ImageMetadata(width, 500, "#a87a7e")

    def limited(self) -> float:
        """How many images COS was not asked about."""
        return self.metrics.registry.get_sample_value("image_gateway_descriptions_total", {"result": "limited"}) or 0.0


@pytest.fixture
async def describer() -> Describer:
    """COS, which does not answer yet."""
    return Describer()


@pytest.fixture
async def metadata(describer: Describer) -> AsyncIterator[MetadataLookup]:
    """Descriptions without Redis."""
    described = MetadataLookup(
        describer.describe, None, describer.metrics.urls, lambda _: False, now=lambda: describer.time
    )
    yield described
    await described.close()


def rows(first: int, number: int) -> list[ImageRecord]:
    """Rows of different images."""
    return [ImageRecord(f"p{count}", None, True, "b-1", "r1", "k", None) for count in range(first, first + number)]


async def test_a_client_makes_cos_describe_so_many_images_a_minute(
    describer: Describer, metadata: MetadataLookup
) -> None:
    """Beyond that, metadata has neither sizes nor colours; other clients have a share of their own."""
    describer.answers.set()
    found = await metadata.of_many(rows(0, 1000), "192.0.2.1")
    assert len(found) == 1000
    assert sum(description.width is not None for description in found.values()) == len(describer.asked) == PER_CLIENT
    assert describer.limited() == 1000 - PER_CLIENT
    for client in range(2, 9):
        await metadata.of_many(rows(client * 1000, 200), f"192.0.2.{client}")
    assert len(describer.asked) == PER_MINUTE, "all clients together"
    describer.time += 60
    await metadata.of_many(rows(9000, 200), "192.0.2.1")
    assert len(describer.asked) == PER_MINUTE + 200
    await metadata.of_many(rows(0, PER_CLIENT), "192.0.2.1")
    assert len(describer.asked) == PER_MINUTE + 200, "what is remembered is not asked for"


async def test_descriptions_that_wait_for_cos_are_bounded(describer: Describer, metadata: MetadataLookup) -> None:
    waiting = [
        asyncio.create_task(metadata.of_many(rows(client * 1000, 200), f"192.0.2.{client}"))
        for client in range(PER_MINUTE // 200)
    ]
    await until(lambda: describer.asked)
    describer.time += 60
    # These join calls that wait already; those that do not are too many.
    waiting.append(asyncio.create_task(metadata.of_many([*rows(0, 200), *rows(9000, 200)], "192.0.2.9")))
    await until(lambda: describer.limited() == 200)
    assert running() == PER_MINUTE
    assert len(describer.asked) == 16, "so many at once"
    describer.answers.set()
    await asyncio.gather(*waiting)
    await until(lambda: len(describer.asked) == PER_MINUTE)  # also those that no request waits for any longer


async def test_an_answer_about_the_image_before_its_change_is_not_kept(
    describer: Describer, metadata: MetadataLookup
) -> None:
    (row,) = rows(0, 1)
    before = asyncio.create_task(metadata.of_many([row], "192.0.2.1"))
    await until(lambda: describer.asked)
    describer.width = 300
    metadata.drop(row.image_id)
    after = asyncio.create_task(metadata.of_many([row], "192.0.2.1"))
    await until(lambda: len(describer.asked) == 2)
    describer.answers.set()
    assert (await before)[row.image_id].width == 800
    assert (await after)[row.image_id].width == 300
    assert (await metadata.of_many([row], "192.0.2.1"))[row.image_id].width == 300
    metadata.drop_all()  # every row: what COS has told does not depend on rows
    metadata.drop(row.image_id)
    await metadata.of_many([row], "192.0.2.1")
    assert len(describer.asked) == 3


async def test_a_description_in_memory_has_an_end(describer: Describer, metadata: MetadataLookup) -> None:
    describer.answers.set()
    for minutes in (0, 9, 11):
        describer.time = 1000.0 + 60 * minutes
        await metadata.of_many(rows(0, 1), "192.0.2.1")
        assert len(describer.asked) == (1 if minutes < 10 else 2)


def running() -> int:
    """How many calls wait for COS or for their turn."""
    return sum(task.get_name().startswith("describe:") for task in asyncio.all_tasks())
