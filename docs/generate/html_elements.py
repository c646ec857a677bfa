"""HTML as a tree: it is serialized with every text and attribute escaped, so that none of them can be markup."""

from collections.abc import Iterable
from typing import Final
from xml.etree.ElementTree import Element, tostring

Content = str | Element

_ON_LINES_OF_THEIR_OWN: Final = frozenset(
    {"h1", "h2", "h3", "h4", "head", "li", "link", "meta", "p", "pre", "section", "table", "title", "tr", "ul"}
)


def element(name: str, /, *content: Content, **attributes: str) -> Element:
    """Return an element with texts and elements in it; an underscore at the end of an attribute's name is left out."""
    made = Element(name, {attribute.rstrip("_"): value for attribute, value in attributes.items()})
    made.tail = "\n" if name in _ON_LINES_OF_THEIR_OWN else ""
    for one in content:
        if isinstance(one, Element):
            made.append(one)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + one
        else:
            made.text = (made.text or "") + one
    return made


def link(address: str, content: Content) -> Element:
    """Return a link to that address."""
    return element("a", content, href=address)


def table(columns: Iterable[str], rows: Iterable[Iterable[Content]]) -> Element:
    """Return a table with a head, which scrolls by itself where it is too wide."""
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    made = element("table", element("thead", head), element("tbody", *body))
    return element("div", made, class_="wide", tabindex="0")  # the keyboard must reach what scrolls


def page(title: str, stylesheet: str, *content: Content) -> str:
    """Return a whole page in the style of the console; ``stylesheet`` is the address of the console's."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("title", title),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href=stylesheet),
    )
    html = element("html", head, element("body", element("main", *content), class_="text"), lang="en")
    return f"<!doctype html>\n<!-- Written by `make docs`. -->\n{tostring(html, encoding='unicode', method='html')}\n"
