"""Operations on the geometry of a picture, as pure functions of its size: thumbnail, crop, cut, rotate, auto-orient.

Sizes are (width, height) in pixels. An operation that cannot be applied raises the refusal that COS answers.
"""

from dataclasses import dataclass
from enum import Enum, auto

from gateway_dev.cos_emulator import refusals

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in pixels; right and bottom are outside."""


class Fit(Enum):
    """How a thumbnail uses the given width and height (doc 44880)."""

    INSIDE = auto()
    """``WxH``: the largest size inside; a smaller picture is enlarged."""
    SHRINK = auto()
    """``WxH>``: as INSIDE, but never enlarge."""
    ENLARGE = auto()
    """``WxH<``: as INSIDE, but never shrink."""
    COVER = auto()
    """``!WxHr``: the smallest size that covers both."""
    SHRINK_COVER = auto()
    """imageView2: as COVER, but never enlarge."""
    EXACT = auto()
    """``WxH!``: exactly this size, whatever the proportions."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Scaling to ``width`` and ``height``. None leaves that side to the proportions."""

    width: int | None
    height: int | None
    fit: Fit = Fit.INSIDE

    def size(self, size: Size) -> Size:
        """Return the size of the scaled picture."""
        width, height = size
        if self.fit is Fit.EXACT:
            return self.width or width, self.height or height
        ratios = [wanted / side for wanted, side in ((self.width, width), (self.height, height)) if wanted is not None]
        ratio = (max if self.fit in {Fit.COVER, Fit.SHRINK_COVER} else min)(ratios, default=1.0)
        if self.fit in {Fit.SHRINK, Fit.SHRINK_COVER}:
            ratio = min(ratio, 1.0)
        elif self.fit is Fit.ENLARGE:
            ratio = max(ratio, 1.0)
        return _scaled(width, ratio), _scaled(height, ratio)


@dataclass(frozen=True, slots=True)
class Percent:
    """Scaling of each side to a percentage: ``!50p``, ``!50px`` and ``!x50p``."""

    width: int = 100
    height: int = 100

    def size(self, size: Size) -> Size:
        """Return the size of the scaled picture."""
        return _scaled(size[0], self.width / 100), _scaled(size[1], self.height / 100)


@dataclass(frozen=True, slots=True)
class Area:
    """Shrinking to at most ``pixels`` in all: ``<Area>@``."""

    pixels: int

    def size(self, size: Size) -> Size:
        """Return the size of the scaled picture."""
        width, height = size
        ratio = min(1.0, (self.pixels / (width * height)) ** 0.5)
        return max(1, int(width * ratio)), max(1, int(height * ratio))


_PLACES = {"northwest": (0, 0), "north": (1, 0), "northeast": (2, 0)}
_PLACES |= {"west": (0, 1), "center": (1, 1), "east": (2, 1)}
_PLACES |= {"southwest": (0, 2), "south": (1, 2), "southeast": (2, 2)}
GRAVITIES = frozenset(_PLACES)
"""Names of the nine places that a crop can keep (doc 44881)."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Scaling to cover ``width`` and ``height``, then a cut of that size at ``gravity``.

    With one side None there is no scaling: the cut keeps that side whole (doc 44881). The default of ``gravity`` is not
    documented.
    """

    width: int | None
    height: int | None
    gravity: str = "northwest"

    def plan(self, size: Size) -> tuple[Size, Box]:
        """Return the size to scale to and the box to keep of it; raise Refusal if the picture is smaller than asked."""
        width, height = self.width or size[0], self.height or size[1]
        if width > size[0] or height > size[1]:
            raise refusals.invalid_argument("The crop is larger than the image.")
        if self.width and self.height:
            size = Scale(width, height, Fit.COVER).size(size)
        across, down = _PLACES[self.gravity]
        left, top = (size[0] - width) * across // 2, (size[1] - height) * down // 2
        return size, (left, top, left + width, top + height)


@dataclass(frozen=True, slots=True)
class Cut:
    """Box of ``width`` x ``height`` at ``left`` and ``top``, without scaling."""

    width: int
    height: int
    left: int
    top: int

    def box(self, size: Size) -> Box:
        """Return the part of the box inside the picture. Raises Refusal if nothing is."""
        if self.left >= size[0] or self.top >= size[1]:
            raise refusals.invalid_argument("The cut is outside the image.")
        return self.left, self.top, min(self.left + self.width, size[0]), min(self.top + self.height, size[1])


@dataclass(frozen=True, slots=True)
class Rotate:
    """Clockwise rotation by ``degrees``."""

    degrees: int


@dataclass(frozen=True, slots=True)
class AutoOrient:
    """Rotation and mirroring as the EXIF orientation says, which is then removed."""


Scaling = Scale | Percent | Area
Operation = Scaling | Crop | Cut | Rotate | AutoOrient


def _scaled(side: int, ratio: float) -> int:
    return max(1, int(side * ratio + 0.5))
