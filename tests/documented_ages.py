"""A tenth of the times in ``docs/delivery.md`` by which an image is gone everywhere within a minute."""

import re
from pathlib import Path
from typing import Any

import yaml

CLOCK = 1  # seconds; each layer (a cache, a browser) counts whole seconds
BOUND = 5 + CLOCK  # seconds: a tenth of ``max_age`` of the page, behind one layer


def gone_within_bound() -> dict[str, Any]:
    """Return the section ``image_proxy`` of the page, with a tenth of each time in it."""
    page = (Path(__file__).parents[1] / "docs" / "delivery.md").read_text(encoding="utf-8")
    ((settings),) = re.findall(r"^### Gone everywhere.*?^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    tenth: dict[str, Any] = yaml.safe_load(re.sub(r"\b(\d*)0\b", lambda time: time[1] or "0", settings))["image_proxy"]
    return tenth
