"""The pages below ``/docs`` of the admin port: a document in the style of the console, which the wheel contains."""

import re
from typing import Final

from markdown import Markdown

# The wheel has no other page, and no other language. A heading of the same page stays a link.
_LINK_ELSEWHERE: Final = re.compile(r"\[([^\]]+)\]\((?!#)[^)]+\)")
_OTHER_LANGUAGE: Final = re.compile(r"^\[中文\]\(.+\)\n\n", flags=re.MULTILINE)
_PAGE: Final = """<!doctype html>
<!-- Written by `make docs`. -->
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="{base}console/logo.svg">
<link rel="stylesheet" href="{base}console/tokens.css">
<link rel="stylesheet" href="{base}console/console.css">
</head>
<body class="text">
<main>
<p><a href="{base}">Console</a> ·
<a href="{base}docs">HTTP addresses</a> ·
<a href="{base}docs/errors">Error codes</a> ·
<a href="{base}docs/runbook">Runbook</a></p>
{body}
</main>
</body>
</html>
"""


def console_page(document: str, base: str) -> str:
    """Return the HTML of a document in Markdown. Each row of a table has its first word as id, for links to it.

    base: the way from the page's address to the console's.
    """
    renderer = Markdown(extensions=["tables", "fenced_code", "toc"], extension_configs={"toc": {"slugify": _anchor}})
    body = renderer.convert(_LINK_ELSEWHERE.sub(r"\1", _OTHER_LANGUAGE.sub("", document)))
    body = re.sub(r"<tr>\n<td><code>(\w+)</code></td>", r'<tr id="\1">\n<td><code>\1</code></td>', body)
    body = body.replace("<th></th>", "<td></td>")  # a header without a text heads nothing
    # The keyboard must reach what scrolls.
    body = body.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")
    title = re.search(r"<h1[^>]*>(.+?)</h1>", body)
    return _PAGE.format(title=title[1] if title is not None else "image-gateway", base=base, body=body)


def _anchor(title: str, separator: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", separator)
