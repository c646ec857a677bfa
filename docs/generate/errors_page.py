"""The page of error codes that the admin port serves: the table of docs/errors.md, a heading for each code."""

import re
from collections.abc import Iterator

from docs.generate.html_elements import Content, element, link, page

_ROW = re.compile(r"^\| `([a-z_]+)` \| (\d{3}) \| (.+?) \| (.+) \|$", flags=re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")  # leads to files that the wheel does not have
_TITLE = "Error codes of the image gateway"


def errors_page(markdown: str) -> str:
    """Return the HTML of the page; each heading has its code as id."""
    sections = (
        element(
            "section",
            element("h2", element("code", code), f" · {status}"),
            element("p", *_inline(meaning)),
            element("p", element("strong", "What to do:"), " ", *_inline(advice)),
            id=code,
        )
        for code, status, meaning, advice in _ROW.findall(markdown)
    )
    links = element("p", link("../", "Console"), " · ", link("../docs", "API"))
    return page(_TITLE, "../console/console.css", element("h1", "Error codes"), links, *sections)


def _inline(text: str) -> Iterator[Content]:
    """Yield the text, and what is in backticks as code."""
    for number, part in enumerate(_LINK.sub(r"\1", text).split("`")):
        yield element("code", part) if number % 2 else part
