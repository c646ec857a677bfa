"""The page of error codes that the admin port serves: the table of docs/errors.md, a heading for each code."""

import re
from html import escape

_ROW = re.compile(r"^\| `([a-z_]+)` \| (\d{3}) \| (.+?) \| (.+) \|$", flags=re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")  # leads to files that the wheel does not have
_CODE = re.compile(r"`([^`]+)`")


def errors_page(markdown: str) -> str:
    """Return the HTML of the page; each heading has its code as id."""
    sections = [
        f'<section id="{code}"><h2><code>{code}</code> · {status}</h2>\n'
        f"<p>{_inline(meaning)}</p>\n<p><strong>What to do:</strong> {_inline(advice)}</p></section>"
        for code, status, meaning, advice in _ROW.findall(markdown)
    ]
    return "\n".join(
        [
            "<!doctype html>",
            "<!-- Written by `make docs` from docs/errors.md. -->",
            '<html lang="en"><head><meta charset="utf-8"><title>Error codes of the image gateway</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            '<link rel="stylesheet" href="../console/console.css"></head><body class="text"><main>',
            "<h1>Error codes</h1>",
            *sections,
            "</main></body></html>",
            "",
        ]
    )


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(_LINK.sub(r"\1", text), quote=False))
