"""Sample images, drawn with Pillow."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps, features

from gateway.dev.folder import CONTENT_TYPES


@dataclass(frozen=True)
class SampleImage:
    """One drawn image and the row it gets in the images table."""

    image_id: str
    key: str
    content_type: str
    data: bytes
    owner: str
    public: bool


def sample_images() -> Iterator[SampleImage]:
    """Draw the samples: each content type, keys that need quoting, two owners. Every call yields the same bytes.

    AVIF is left out if Pillow cannot write it.
    """

    def sample(image_id: str, key: str, data: bytes, owner: str, *, public: bool) -> SampleImage:
        return SampleImage(image_id, key, CONTENT_TYPES[Path(key).suffix], data, owner, public)

    data = _encoded(_scene("sunrise", (960, 640), _DAWN, grain=45), "JPEG", quality=85)
    yield sample("sunrise", "photos/sunrise.jpg", data, "alice", public=True)
    data = _encoded(_badge("badge"), "PNG")
    yield sample("badge", "brand/badge (transparent) 100%.png", data, "alice", public=True)
    frames = [_scene("drifting-sun", (240, 160), _DAY, sun_at=step / 10) for step in range(11)]
    data = _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)
    yield sample("drifting-sun", "animations/drifting sun.gif", data, "bob", public=True)
    yield sample("vector", "drawings/hills+sun.svg", _vector("vector"), "bob", public=True)
    data = _encoded(_scene("poster-large", (3000, 2000), _DAY, grain=90), "JPEG", quality=95)
    yield sample("poster-large", "large/poster 4MB.jpg", data, "alice", public=True)
    data = _encoded(_scene("dunes", (800, 500), _SAND, grain=20), "WEBP", quality=80, method=0)
    yield sample("dunes", "albums/2024 summer/dunes (final) 50%25+1.webp", data, "alice", public=False)
    data = _encoded(_scene("mountain-lake", (800, 500), _DAY, grain=20), "JPEG", quality=80)
    yield sample("mountain-lake", "照片/山 与 湖（最终）.jpg", data, "alice", public=False)
    data = _encoded(_scene("user:bob@v1.2_night", (640, 400), _NIGHT), "PNG")
    yield sample("user:bob@v1.2_night", "users/bob/night #1 & more?.png", data, "bob", public=False)
    if features.check("avif"):
        data = _encoded(_scene("aurora", (480, 320), _NIGHT), "AVIF", speed=10)
        yield sample("aurora", "photos/aurora.avif", data, "bob", public=False)


@dataclass(frozen=True)
class _Palette:
    """Colours of a scene: the sky from top to bottom, the sun, the hills from far to near."""

    sky: tuple[str, str]
    sun: str
    hills: tuple[str, str, str]


_DAWN = _Palette(("#33406e", "#ffb27a"), "#fff1cf", ("#9c6b86", "#6a4a70", "#3a2d52"))
_DAY = _Palette(("#2f80c3", "#d8f0ff"), "#fffbe0", ("#8fb8a8", "#5a9a7a", "#2f6b55"))
_NIGHT = _Palette(("#0b1233", "#2b7a78"), "#e8f5ee", ("#1f4f5f", "#153a4a", "#0c2233"))
_SAND = _Palette(("#e9a15b", "#fde6b8"), "#fffdf0", ("#e0a868", "#c98448", "#9c5a2c"))


def _scene(title: str, size: tuple[int, int], palette: _Palette, *, grain: int = 0, sun_at: float = 0.7) -> Image.Image:
    """Draw a sun over three hills, with `title`; `grain` (0 to 255) adds noise, so that it is as large as a photo."""
    width, height = size
    picture = ImageOps.colorize(Image.linear_gradient("L").resize(size), *palette.sky)
    draw = ImageDraw.Draw(picture)
    draw.circle((width * sun_at, height * 0.3), height * 0.13, fill=palette.sun)
    for nearness, (peak, colour) in enumerate(zip((0.25, 0.8, 0.45), palette.hills, strict=True)):
        top = height * (0.45 + 0.14 * nearness)
        draw.polygon([(width * (peak - 0.9), height), (width * peak, top), (width * (peak + 0.9), height)], fill=colour)
    if grain:
        noise = Image.frombytes("L", size, hashlib.shake_256(title.encode()).digest(width * height))  # deterministic
        picture = Image.blend(picture, ImageChops.overlay(picture, noise.convert("RGB")), grain / 255)
        draw = ImageDraw.Draw(picture)
    draw.text((width * 0.04, height * 0.94), title, fill="white", anchor="ls", font=ImageFont.load_default(height / 12))
    return picture


def _badge(title: str) -> Image.Image:
    """Draw a round badge on a transparent background."""
    picture = Image.new("RGBA", (320, 320))
    draw = ImageDraw.Draw(picture)
    for radius, colour in ((158, "#2f6b55"), (140, "#d8f0ff"), (128, "#2f80c3")):
        draw.circle((160, 160), radius, fill=colour)
    draw.text((160, 160), title, fill="white", anchor="mm", font=ImageFont.load_default(320 / (len(title) * 0.75)))
    return picture


def _vector(title: str) -> bytes:
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 200" width="640" height="400">
  <defs><linearGradient id="sky" x2="0" y2="1"><stop stop-color="#33406e"/><stop offset="1" stop-color="#ffb27a"/>
  </linearGradient></defs>
  <rect width="320" height="200" fill="url(#sky)"/><circle cx="224" cy="60" r="26" fill="#fff1cf"/>
  <path d="M0 200 80 90 200 200z" fill="#9c6b86"/><path d="M120 200 230 110 320 200z" fill="#3a2d52"/>
  <text x="14" y="188" fill="white" font-family="sans-serif" font-size="17">{title}</text>
</svg>
""".encode()


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
