"""The images of the soak: objects whose bytes say which object and which offset they are."""

import hashlib
import io
from dataclasses import dataclass

from PIL import Image

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.store import ObjectStore
from gateway_dev.database import ImageRow
from gateway_dev.samples import sample_images

BUCKET = "soak-1250000000"
OWNER, STRANGER = "owner", "stranger"
SIZES = {"small": 4_096, "medium": 100_000, "large": 1_000_000, "huge": 10_000_000}
COUNTS = {"small": 2_000, "medium": 200, "large": 40, "huge": 8}
PRIVATE = 100
CHANGING = 10
PHOTOS = 10
_PATTERN_BYTES = 251  # prime: bytes from a wrong offset differ from the right ones


@dataclass(frozen=True)
class Picture:
    """An object of ``size`` bytes; no other object has its bytes."""

    key: str
    size: int

    @property
    def _pattern(self) -> bytes:
        return hashlib.shake_128(self.key.encode()).digest(_PATTERN_BYTES)

    def content(self) -> SyntheticContent:
        """Return the object's bytes for the emulator."""
        return SyntheticContent(self.size, self._pattern)

    def has(self, data: bytes, offset: int) -> bool:
        """Whether ``data`` are the bytes of the object at ``offset``."""
        shift = offset % _PATTERN_BYTES
        repeated = self._pattern * ((shift + len(data)) // _PATTERN_BYTES + 1)
        return data == repeated[shift : shift + len(data)]


def put_objects(store: ObjectStore) -> tuple[dict[str, Picture], list[ImageRow]]:
    """Store every object; return the pictures by image id, and the rows."""
    pictures: dict[str, Picture] = {}
    rows = []

    def put(image_id: str, size: int, *, public: bool = True) -> None:
        picture = Picture(f"{image_id}.png", size)
        store.put(BUCKET, picture.key, picture.content(), content_type="image/png")
        pictures[image_id] = picture
        rows.append(ImageRow(image_id, OWNER, picture.key, public=public))

    for kind, count in COUNTS.items():
        for number in range(count):
            put(f"{kind}-{number}", SIZES[kind])
    for number in range(PRIVATE):
        put(f"private-{number}", 4_096, public=False)
    for number in range(CHANGING):
        put(f"changing-{number}", 4_096)
        other = other_picture(f"changing-{number}")
        store.put(BUCKET, other.key, other.content(), content_type="image/png")
    for number in range(PHOTOS):
        buffer = io.BytesIO()
        Image.radial_gradient("L").convert("RGB").resize((640 + number, 400)).save(buffer, "PNG")
        store.put(BUCKET, f"photo-{number}.png", buffer.getvalue(), content_type="image/png")
        rows.append(ImageRow(f"photo-{number}", OWNER, f"photo-{number}.png", public=True))
    return pictures, rows


def other_picture(image_id: str) -> Picture:
    """Return the second picture of a changing image."""
    return Picture(f"{image_id}-other.png", 4_096)


def put_samples(store: ObjectStore) -> tuple[list[ImageRow], dict[str, bytes]]:
    """Store the images of the playground; return their rows, and the bytes of public images by id."""
    rows, originals = [], {}
    for row, data in sample_images():
        store.put(BUCKET, row.key, data)
        rows.append(row)
        if row.public:
            originals[row.image_id] = data
    return rows, originals
