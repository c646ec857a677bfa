"""Sample images, drawn with Pillow: landscapes without text, so that no style cuts a word off."""

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageOps, features

from gateway_dev.cos_emulator.store import guess_content_type
from gateway_dev.database import ImageRow


def sample_images() -> Iterator[tuple[ImageRow, bytes]]:
    """Draw the samples, each with its row: each content type, keys that need quoting, two owners.

    Every call yields the same bytes. AVIF is left out if Pillow cannot write it.
    """

    def row(image_id: str, key: str, owner: str, *, public: bool) -> ImageRow:
        return ImageRow(image_id, owner, key, content_type=guess_content_type(key), public=public)

    data = _encoded(_with_grain(_scene((960, 640), _DAWN), 36), "JPEG", quality=85)
    yield row("sunrise", "photos/sunrise.jpg", "alice", public=True), data
    data = _encoded(_badge(), "PNG")
    yield row("badge", "brand/badge (transparent) 100%.png", "alice", public=True), data
    frames = [
        _scene((240, 160), _DAY, sun_at=(0.2 + 0.06 * step, 0.3 - 0.012 * step * (10 - step) / 2)) for step in range(11)
    ]
    data = _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)
    yield row("drifting-sun", "animations/drifting sun.gif", "bob", public=True), data
    yield row("vector", "drawings/hills+sun.svg", "bob", public=True), _VECTOR
    data = _encoded(_with_grain(_scene((3000, 2000), _COAST), 92), "JPEG", quality=95)
    yield row("poster-large", "large/poster 4MB.jpg", "alice", public=True), data
    data = _encoded(_with_grain(_scene((800, 500), _SAND), 18), "WEBP", quality=80, method=0)
    yield row("dunes", "albums/2024 summer/dunes (final) 50%25+1.webp", "alice", public=False), data
    data = _encoded(_with_grain(_mirrored(_scene((800, 310), _ALPS)), 18), "JPEG", quality=80)
    yield row("mountain-lake", "照片/山 与 湖（最终）.jpg", "alice", public=False), data
    data = _encoded(_scene((640, 400), _NIGHT, light="stars"), "PNG")
    yield row("user:bob@v1.2_night", "users/bob/night #1 & more?.png", "bob", public=False), data
    if features.check("avif"):
        data = _encoded(_scene((480, 320), _POLAR, light="aurora"), "AVIF", speed=10)
        yield row("aurora", "photos/aurora.avif", "bob", public=False), data


@dataclass(frozen=True)
class _Palette:
    """Colours of a scene: the sky from top to bottom, the sun and its glow, the ridges from far to near, their mist.

    ``roughness``: how jagged the ridges are, 0 for dunes. ``phase`` moves them along the horizon.
    """

    sky: Sequence[str]
    sun: str
    glow: str
    ridges: Sequence[str]
    mist: str
    roughness: float = 0.4
    phase: float = 0.0


_DAWN = _Palette(
    sky=("#23305e", "#5b4a86", "#c56b84", "#f7a878", "#ffd9a0"),
    sun="#fff4d6",
    glow="#ffcf8a",
    ridges=("#a7688c", "#7c4f7f", "#553a6b", "#352850", "#1e1a38"),
    mist="#f0a184",
)
_DAY = _Palette(
    sky=("#2f7fd0", "#6cb4ea", "#bfe3f7", "#eef8f4"),
    sun="#fffdf0",
    glow="#fff6cf",
    ridges=("#8fbccb", "#6aa3a5", "#4d8a78", "#2f6b55"),
    mist="#d9eef0",
    phase=2.6,
)
_COAST = _Palette(
    sky=("#0e5a8a", "#2a93b8", "#7fd0d0", "#fbe3b9", "#ffc98f"),
    sun="#fffaf0",
    glow="#ffe9b8",
    ridges=("#5fb0b5", "#2f8b99", "#156a7e", "#0d4d63", "#0a3247"),
    mist="#a9dcd2",
    roughness=0.12,
    phase=4.4,
)
_SAND = _Palette(
    sky=("#3d7fb1", "#8fbfd0", "#f3dcb4", "#fbd08d"),
    sun="#fffdf0",
    glow="#fff0c4",
    ridges=("#eab676", "#dc9a55", "#c07a3e", "#93552b", "#643720"),
    mist="#f7d3a0",
    roughness=0.0,
    phase=0.9,
)
_ALPS = _Palette(
    sky=("#1d4e89", "#4d8fc4", "#a9d3ea", "#f6e7dc"),
    sun="#ffffff",
    glow="#fff3dd",
    ridges=("#9db7cd", "#6f93b2", "#496f93", "#274a66"),
    mist="#d4e4ee",
    roughness=1.3,
    phase=5.3,
)
_NIGHT = _Palette(
    sky=("#060b24", "#0f1c47", "#243a72", "#4a6296"),
    sun="#f4f6ff",
    glow="#9fb4e8",
    ridges=("#2c4170", "#1d2d55", "#121d3b", "#0a1127"),
    mist="#3c5488",
    roughness=0.7,
    phase=3.4,
)
_POLAR = _Palette(
    sky=("#050a1c", "#0a1c38", "#12374f", "#1d5560"),
    sun="#5bffb0",
    glow="#8f6bff",
    ridges=("#16384a", "#0f2738", "#0a1a29", "#060f1b"),
    mist="#1f5a62",
    roughness=0.8,
    phase=1.6,
)


def _scene(
    size: tuple[int, int],
    palette: _Palette,
    *,
    sun_at: tuple[float, float] = (0.66, 0.34),
    light: Literal["day", "stars", "aurora"] = "day",
) -> Image.Image:
    """Draw a sun over ridges that fade in mist. Polar lights have the colors of the sun and its glow."""
    width, height = size
    picture = _gradient(palette.sky, size)
    if light == "aurora":
        _add_polar_lights(picture, (palette.sun, palette.sun, palette.glow))
    else:
        if light == "stars":
            _add_stars(picture)
        center = (round(width * sun_at[0]), round(height * sun_at[1]))
        _add_disc(picture, center, height * 0.75, palette.glow, soft=True)
        _add_disc(picture, center, height * 0.085, palette.sun)
    for nearness, color in enumerate(palette.ridges):
        share = nearness / (len(palette.ridges) - 1)
        top = height * (0.5 + 0.34 * share)
        ridge = _gradient((color, color, palette.mist), (width, round(height * 0.55)))
        picture.paste(ridge, (0, round(top - height * 0.1)), _ridge_mask(ridge.size, palette, nearness))
    return picture


def _gradient(colors: Sequence[str], size: tuple[int, int]) -> Image.Image:
    """Return a gradient from the first color at the top to the last at the bottom."""
    column = Image.new("RGB", (1, len(colors)))
    for at, color in enumerate(colors):
        column.putpixel((0, at), ImageColor.getrgb(color))
    return column.resize(size, Image.Resampling.BICUBIC, box=(0, 0.5, 1, len(colors) - 0.5))


def _ridge_mask(size: tuple[int, int], palette: _Palette, nearness: int) -> Image.Image:
    """Return a mask of a ridge, drawn twice as large for smooth edges; its roughness adds short waves."""
    width, height = 2 * size[0], 2 * size[1]
    rough = palette.roughness
    waves = [(1.1, 0.10, 0.0), (2.3, 0.05, 1.0), (5.7, 0.05 * rough, 2.0), (13.1, 0.022 * rough, 3.0)]

    def top(x: float) -> float:
        heights = (
            amplitude
            * (math.sin if smooth < 2 else _zigzag)(math.tau * frequency * x + palette.phase + 1.7 * nearness + smooth)
            for frequency, amplitude, smooth in waves
        )
        return height * (0.2 + sum(heights))

    mask = Image.new("L", (width, height))
    line = [(x, top(x / width)) for x in range(0, width + 8, 8)]
    ImageDraw.Draw(mask).polygon([(0, height), *line, (width, height)], fill=255)
    return mask.resize(size, Image.Resampling.BOX)


def _zigzag(angle: float) -> float:
    """Return a wave with sharp crests, between -1 and 1."""
    return 2 / math.pi * math.asin(math.sin(angle))


def _add_disc(picture: Image.Image, center: tuple[int, int], radius: float, color: str, *, soft: bool = False) -> None:
    """Add a disc; a ``soft`` one fades from its center."""
    side = round(2 * radius)
    if soft:
        fading = ImageOps.invert(Image.radial_gradient("L")).point(
            [round(215 * (max(0, v - 75) / 180) ** 2) for v in range(256)]
        )
        mask = fading.resize((side, side), Image.Resampling.BICUBIC)
    else:
        mask = Image.new("L", (4 * side, 4 * side))
        ImageDraw.Draw(mask).ellipse((0, 0, 4 * side - 1, 4 * side - 1), fill=255)
        mask = mask.resize((side, side), Image.Resampling.BOX)
    corner = (center[0] - side // 2, center[1] - side // 2)
    picture.paste(Image.new("RGB", (side, side), color), corner, mask)


def _add_polar_lights(picture: Image.Image, colors: Sequence[str]) -> None:
    width, height = picture.size
    for number, color in enumerate(colors):
        mask = Image.new("L", picture.size)
        draw = ImageDraw.Draw(mask)
        for x in range(width):
            at = x / width
            foot = height * (0.5 - 0.1 * number + 0.12 * math.sin(math.tau * (0.8 * at + 0.3 * number)))
            rays = 0.7 + 0.3 * math.sin(60 * at + 7 * number)
            for step in range(12):
                y = foot - height * 0.4 * step / 12
                draw.line((x, y, x, y - height * 0.04), fill=round((190 - 15 * step) * rays))
        picture.paste(Image.new("RGB", picture.size, color), (0, 0), mask.filter(ImageFilter.GaussianBlur(height / 60)))


def _mirrored(picture: Image.Image) -> Image.Image:
    """Add a lake below the picture, in which it is darker and blurred."""
    width, height = picture.size
    depth = round(height * 0.62)
    water = ImageOps.flip(picture.crop((0, height - depth, width, height))).filter(ImageFilter.BoxBlur((1, 3)))
    lake = Image.new("RGB", (width, height + depth))
    lake.paste(picture)
    lake.paste(Image.blend(water, Image.new("RGB", water.size, "#123c58"), 0.35), (0, height))
    return lake


def _add_stars(picture: Image.Image) -> None:
    width, height = picture.size
    draw = ImageDraw.Draw(picture)
    numbers = hashlib.shake_256(b"stars").digest(4 * 140)
    for at in range(0, len(numbers), 4):
        x, y, size, light = numbers[at : at + 4]
        place = (width * x / 255, height * 0.5 * y / 255)
        draw.circle(place, 0.5 + (size > 225), fill=(light // 2 + 128,) * 3)


def _with_grain(picture: Image.Image, grain: int) -> Image.Image:
    """Add noise, 0 to 255, so that the picture is as large as a photo."""
    width, height = picture.size
    noise = Image.frombytes("L", picture.size, hashlib.shake_256(b"grain").digest(width * height))  # deterministic
    return Image.blend(picture, ImageChops.overlay(picture, noise.convert("RGB")), grain / 255)


def _badge() -> Image.Image:
    """Draw a round picture on a transparent background, small enough for a style that cuts the top and bottom off."""
    side = 320
    scene = _scene((side, side), _DAWN, sun_at=(0.5, 0.4))
    mask = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(mask).circle((2 * side, 2 * side), 4 * 104, fill=255)
    badge = Image.new("RGBA", (side, side))
    ring = Image.new("L", mask.size)
    ImageDraw.Draw(ring).circle((2 * side, 2 * side), 4 * 114, fill=255)
    badge.paste("#ffffff", (0, 0), ring.resize((side, side), Image.Resampling.BOX))
    badge.paste(scene, (0, 0), mask.resize((side, side), Image.Resampling.BOX))
    return badge


_VECTOR: Final = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 200" width="640" height="400">
  <defs>
    <linearGradient id="sky" x2="0" y2="1"><stop stop-color="#3fa7c9"/><stop offset="1" stop-color="#fdebc8"/>
    </linearGradient>
    <linearGradient id="silk" x2="1"><stop stop-color="#e4572e"/><stop offset=".5" stop-color="#f9c74f"/>
      <stop offset="1" stop-color="#e4572e"/></linearGradient>
  </defs>
  <rect width="320" height="200" fill="url(#sky)"/>
  <circle cx="92" cy="64" r="20" fill="#fff8e1"/>
  <path d="M0 150C50 112 92 120 140 142S250 110 320 132V200H0z" fill="#7fb7a3"/>
  <path d="M0 172C70 140 120 150 180 166S270 150 320 158V200H0z" fill="#4d8a78"/>
  <path d="M0 190C60 172 150 176 210 186S290 178 320 182V200H0z" fill="#2f6b55"/>
  <path d="M206 28c30 0 42 22 42 40 0 22-22 34-32 48h-20c-10-14-32-26-32-48 0-18 12-40 42-40z" fill="url(#silk)"/>
  <path d="M206 28c12 0 16 22 16 40 0 22-8 34-10 48h-12c-2-14-10-26-10-48 0-18 4-40 16-40z" fill="#fff"
    fill-opacity=".35"/>
  <path d="M197 118l3 12h12l3-12" fill="none" stroke="#5b3a29"/>
  <rect x="199" y="129" width="14" height="10" rx="2" fill="#8a5a3b"/>
</svg>
"""


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
