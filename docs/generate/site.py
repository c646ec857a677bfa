"""Hooks of MkDocs: files outside ``docs/`` that a page links to become files of the site, at their own path.

The first page is the site's own, with figures of ``docs/benchmarks.md``; the README is the page "Try". The README of
the component is two pages: its first sections are tabs of "Start", the others are "Reference". Pages in Chinese have a
frame in Chinese.
"""

import json
import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from textwrap import indent
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.utils.templates import TemplateContext

ROOT: Final = Path(__file__).parents[2]
# Of the project -> of the site
_MOVED: Final = {
    "docs/generate/first_page.md": "index.md",
    "README.md": "try.md",
    "gateway/web/brand/logo.svg": "assets/logo.svg",
    "gateway/web/brand/tokens.css": "assets/tokens.css",
}
# Start -> reference: the sections after the first ones.
_COMPONENT: Final = {
    "gateway/web/README.md": "gateway/web/reference.md",
    "gateway/web/README.zh-CN.md": "gateway/web/reference.zh-CN.md",
}
_STARTS: Final = 8
_BY: Final = re.compile(r"^Start with |^使用 | 开始$")  # of the names of tabs
_SECTION: Final = re.compile(r"^## (.+)\n", re.MULTILINE)
_CONTENTS: Final = re.compile(r"^- \[.+\]\(#.+\)\n", re.MULTILINE)
_ANCHOR: Final = re.compile(r"\]\(([^)#:\s]*)#([^)\s]+)\)")
_FIRST: Final = "docs/generate/first_page.md"
_LINK: Final = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_PICTURE: Final = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img alt="(?P<alt>[^"]*)" src="(?P<light>[^"]+)">\s*</picture>'
)
# The reader chooses the colours of the site: Material shows the image whose address ends so.
_IN_BOTH_SCHEMES: Final = r"![\g<alt>](\g<light>#only-light)![\g<alt>](\g<dark>#only-dark)"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the first page, the README, and every file that a page links to, also from the added pages."""
    waiting = [*_MOVED, *(_in_project(page.src_uri) for page in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if files.get_file_from_path(_in_site(path)) is None:
            files.append(File.generated(config, _in_site(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            targets = {_target(path, link) for link in _LINK.findall(text)}
            new = {target for target in targets if (ROOT / target).is_file()} - seen
            seen |= new
            waiting += sorted(new)
    for start, reference in _COMPONENT.items():
        files.append(File.generated(config, reference, content=_two_pages(start)[1]))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the page's links lead to the places of their targets in the site, and follow its colours in pictures."""
    del config
    here = page.file.src_uri
    if here in _COMPONENT:
        markdown = _two_pages(here)[0]
    markdown = _ANCHOR.sub(lambda link: _to_reference(link, _in_project(here)), markdown)
    if _in_project(here) == _FIRST:
        markdown = _with_figures(markdown)

    def in_site(link: re.Match[str]) -> str:
        target = _in_site(_target(_in_project(here), link[1]))
        if files.get_file_from_path(target) is None:
            return link[0]  # MkDocs reports it
        return f"]({relpath(target, PurePosixPath(here).parent)}"

    return _LINK.sub(in_site, _PICTURE.sub(_IN_BOTH_SCHEMES, markdown))


def on_page_context(context: TemplateContext, page: Page, config: MkDocsConfig, nav: Navigation) -> TemplateContext:
    """Choose the language of the page's frame, by which browsers also choose glyphs and break lines."""
    del nav
    config.theme["language"] = "zh" if page.file.src_uri.endswith(".zh-CN.md") else "en"
    return context


def _two_pages(path: str) -> tuple[str, str]:
    """Return the component's README as the page of the first sections, which are tabs, and the page of the others."""
    head, *sections = _SECTION.split((ROOT / path).read_text(encoding="utf-8"))
    titled = list(zip(sections[::2], sections[1::2], strict=True))
    tabs = (f'=== "{_BY.sub("", title)}"\n{indent(body, "    ")}' for title, body in titled[:_STARTS])
    title = "参考" if path.endswith(".zh-CN.md") else "Reference"
    others = (f"## {title}\n{body}" for title, body in titled[_STARTS:])
    return _CONTENTS.sub("", head) + "\n".join(tabs), f"# {title}\n\n" + "\n".join(others)


def _to_reference(link: re.Match[str], here: str) -> str:
    """Let a link to a section of the component's README lead to the page that has the section."""
    start = {reference: start for start, reference in _COMPONENT.items()}.get(here, here)
    target = _target(start, link[1]) if link[1] else start
    if target not in _COMPONENT:
        return link[0]
    titles = _SECTION.findall(_two_pages(target)[1])
    in_reference = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    folder = PurePosixPath(_in_site(here)).parent
    if link[2] in in_reference:
        return f"]({relpath(_COMPONENT[target], folder)}#{link[2]})"
    return f"]({relpath(target, folder)})"  # a tab has no address


def _with_figures(markdown: str) -> str:
    """Fill in what ``make bench`` measured."""
    measured = json.loads((ROOT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))["comparisons"]
    rows = {(row["mode"], row["size"], row["baseline"]): row for row in measured}
    pages = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    paints = dict(re.findall(r"^\| (.+) \| [\d,]+ \| [\d.]+ \| ([\d,]+) \|$", pages, flags=re.MULTILINE))

    def seconds(row: str) -> str:
        return f"{int(paints[row].replace(',', '')) / 1000:.1f}"

    figures = {
        "MEMORY": f"{rows['memory', '4k', 'bare bytes']['median']:,.0f}",
        "PAINT": seconds("`<smart-image>` with an `<img>`"),
        "PLAIN": seconds("plain `<img>`"),
        "STREAM": f"{rows['stream', '1m', 'nginx']['ratio']:.1f}",
    }
    return re.sub("|".join(figures), lambda name: figures[name[0]], markdown)


def _target(page: str, link: str) -> str:
    """Return the path in the project to which a link of a page leads."""
    return normpath(PurePosixPath(page).parent / link)


def _in_project(src_uri: str) -> str:
    """Return the path in the project of a file of the site."""
    for path, place in _MOVED.items():
        if place == src_uri:
            return path
    return f"docs/{src_uri}" if (ROOT / "docs" / src_uri).exists() else src_uri


def _in_site(path: str) -> str:
    """Return the path in the site of a file of the project."""
    return _MOVED.get(path, path.removeprefix("docs/"))
