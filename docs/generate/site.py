"""Hooks of MkDocs: files outside ``docs/`` that a page links to become files of the site, at their own path.

The first page is the site's own, with figures of ``docs/benchmarks.md``; the README is the page "Try". Pages in Chinese
have a frame in Chinese.
"""

import json
import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
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
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the page's links lead to the places of their targets in the site, and follow its colours in pictures."""
    del config
    here = page.file.src_uri
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
