"""The documents agree with the code: generated pages, links, commands, settings, addresses and errors."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest
import yaml

from docs.generate.code_map import ROOMS
from docs.generate.documents import DOCUMENTS
from docs.generate.film import MOST_BYTES as MOST_BYTES_OF_FILM
from docs.generate.page_table import with_page_table
from docs.generate.screenshots import MOST_BYTES, digest_in
from gateway import cli
from gateway.access.tokens import LEEWAY
from gateway.errors import GatewayError
from gateway.service.ports import applications
from gateway.service.urls import UNKNOWN_TTL
from gateway.settings import Settings
from tests.conftest import RunningGateway
from tests.settings.conftest import clean_environment
from tests.settings_keys import key_at

__all__ = ["clean_environment"]
ROOT = Path(__file__).parent.parent
_FOLDERS = (ROOT, ROOT / "docs", ROOT / "docs" / "decisions")
PAGES = sorted(str(page.relative_to(ROOT)) for folder in _FOLDERS for page in folder.glob("*.md"))
# A key in CHANGELOG.md may have been removed since.
WEB_PAGES = [f"gateway/web/{name}" for name in ("README.md", "README.zh-CN.md", "VUE.md")]
EACH_PAGE_OF_TODAY = pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def setup_cfg() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.parametrize("path", DOCUMENTS)
def test_the_generated_document_is_up_to_date(path: str) -> None:
    assert read(path) == DOCUMENTS[path](), "run `make docs`"


def test_the_picture_has_colours_for_light_and_dark() -> None:
    picture = read("docs/overview.svg")
    assert "prefers-color-scheme: dark" in picture
    for participant in ("browser", "nginx or CDN", "gateway", "Tencent COS", "Redis", "Postgres"):
        assert f">{participant}</text>" in picture


def test_the_table_of_pages_in_the_readme_follows_the_benchmarks() -> None:
    measured = "\n## Pages\n\n| plain | 2,841,343 | 0.000 | 10,652 |\n| ours | 342,700 | 0.000 | 904 |\n"
    assert with_page_table("a\n| kB | 1 |\n| LCP, s | 2 |\nb", measured) == (
        "a\n| kB | 2,841 | 343 |\n| LCP, s | 10.7 | 0.9 |\nb"
    )


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", *WEB_PAGES])
def test_the_code_that_is_copied_first_has_the_style_sheet(page: str) -> None:
    """Without the sheet the page shifts when the script runs."""
    blocks = re.findall(r"```\w+\n(.*?)```", read(page), re.DOTALL)
    first = [
        block for block in blocks if re.search(r"smart-image\.js|web/define\"|configureSmartImage, |createApp", block)
    ]
    assert first
    assert all("smart-image.css" in block for block in first)


def test_the_readme_is_short() -> None:
    assert len(read("README.md").encode()) < 12_000


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_shows_small_pictures_for_light_and_dark(page: str) -> None:
    shown = re.findall(r'prefers-color-scheme: dark\)" srcset="(.+?)">\s*<img alt="[^"]+" src="(.+?)">', read(page))
    assert len(shown) == 2
    for dark, light in shown:
        assert dark.replace("-dark.", "-light.") == light
        for path in (ROOT / dark, ROOT / light):
            assert path.stat().st_size < MOST_BYTES
            assert digest_in(path) is not None


def test_the_pages_of_the_component_say_what_was_measured() -> None:
    row = r"^\| `<smart-image>`(?: with an `<img>`)? \| [\d,]+ \| [\d.]+ \| ([\d,]+) \|$"
    found = re.findall(row, read("docs/benchmarks.md"), flags=re.MULTILINE)
    alone, with_img = (f"{int(paint.replace(',', '')) / 1000:.1f}" for paint in found)
    assert f"is there after {with_img} s\nwith it, and after {alone} s without" in read("gateway/web/README.md")
    assert f"这样写时 {with_img} 秒出现，不这样写时 {alone} 秒" in read("gateway/web/README.zh-CN.md")


def test_no_license_is_granted_and_nothing_can_be_published() -> None:
    assert "\n## License\n\nNo license is granted yet: the choice is the owner's." in read("README.md")
    assert [*ROOT.glob("LICEN*"), *(ROOT / "gateway" / "web").glob("LICEN*")] == []
    metadata = setup_cfg()["metadata"]
    assert [key for key in metadata if key.startswith("license")] == []
    assert "Private :: Do Not Upload" in metadata["classifiers"].splitlines()  # PyPI refuses it
    package = json.loads(read("gateway/web/package.json"))
    assert [package["license"], package["private"]] == ["UNLICENSED", True]  # npm refuses to publish it
    assert json.loads(read("gateway/web/package-lock.json"))["packages"][""]["license"] == "UNLICENSED"


def build_site(folder: Path) -> None:
    """Write the site into a folder; fail if MkDocs warns."""
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )


def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    build_site(tmp_path)
    assert "https://" not in re.findall(r'(?:src|href)="([^"]*)"', (tmp_path / "index.html").read_text())
    first = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(re.findall(r'class="md-button', first)) == 2
    assert re.search(
        r"<strong>[\d,]{5,}</strong>.*?<strong>\d\.\d s</strong>.*?<strong>\d\.\d ×</strong>", first, re.DOTALL
    )
    films = re.findall(r'(?:src|srcset)="(assets/film[^"#]+)', first)
    assert [(tmp_path / film).stat().st_size < MOST_BYTES_OF_FILM for film in films] == [True] * 4
    assert '"lang":["en","zh"]' in (tmp_path / "search" / "search_index.js").read_text(encoding="utf-8")
    chinese = (tmp_path / "README.zh-CN.html").read_text(encoding="utf-8")
    assert '<html lang="zh"' in chinese
    pictures = re.findall(r'src="(assets/[^"]+\.webp)#only-(light|dark)"', chinese)
    assert [scheme for _, scheme in pictures] == ["light", "dark"] * 2
    assert [path for path, _ in pictures if not (tmp_path / path).exists()] == []
    links = {
        (str(page.relative_to(tmp_path)), link)
        for page in tmp_path.rglob("[!4]*.html")
        for link in re.findall(r'<a [^>]*href="([^":#?]+)[#?"]', page.read_text(encoding="utf-8"))
    }
    assert [(page, link) for page, link in links if not (tmp_path / page).parent.joinpath(unquote(link)).exists()] == []


CHINESE = sorted({page for page in PAGES if page.endswith(".zh-CN.md")} | {"gateway/web/README.zh-CN.md"})
FENCED = re.compile(r"^ *```.*?^ *```$", flags=re.DOTALL | re.MULTILINE)


def untranslated(page: str) -> Counter[str]:
    """Return what is the same in both languages, by the number of its section."""
    text = read(page).replace(".zh-CN.md", ".md")
    blocks = iter(FENCED.findall(text))
    facts = Counter[str]()
    for number, section in enumerate(re.split(r"^(?=#)", FENCED.sub("```", text), flags=re.MULTILINE)):
        found = [
            *re.findall(r"^#+(?: ImageGateway\w+)?", section),
            *(next(blocks) for _ in range(section.count("```"))),
            *("paragraph" for _ in re.split(r"\n\s*\n", section.strip())),
            *("list item" for _ in re.findall(r"^ *(?:-|\d+\.) ", section, flags=re.MULTILINE)),
            *("|" * row.count("|") for row in re.findall(r"^ *\|.*", section, flags=re.MULTILINE)),
            *re.findall(r"\]\([^)#\s]+", section),
            *{" ".join(code.split()) for code in re.findall(r"`+[^`]+`+", section.replace("```", ""))},
        ]
        facts.update(f"section {number}: {fact}" for fact in found)
    return facts


@pytest.mark.parametrize("page", CHINESE)
def test_a_chinese_page_is_in_step_with_the_english_page(page: str) -> None:
    chinese, english = untranslated(page), untranslated(page.replace(".zh-CN.md", ".md"))
    assert (english - chinese, chinese - english) == (Counter(), Counter())


@pytest.mark.parametrize("page", CHINESE)
def test_a_chinese_page_links_to_chinese_pages(page: str) -> None:
    english = page.replace(".zh-CN.md", ".md")
    assert read(page).splitlines()[2] == f"[English]({Path(english).name})"
    assert read(english).splitlines()[2] == f"[中文]({Path(page).name})"
    linked = {os.path.normpath(Path(page).parent / link) for link in re.findall(r"\]\(([^)#\s]+\.md)", read(page))}
    assert linked & {page.replace(".zh-CN.md", ".md") for page in CHINESE} == {english}


def test_the_map_of_the_code_has_every_room() -> None:
    folders = {init.parent.name for init in (ROOT / "gateway").glob("*/__init__.py")}
    assert ROOMS.keys() - {""} == folders


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+|[A-Za-z.-]+\.md)\)", read("README.md") + read("README.zh-CN.md")))
    decisions = re.findall(r"\]\(([a-z-]+\.md)\)", read("docs/decisions/README.md"))
    linked |= {f"docs/decisions/{page}" for page in decisions}
    assert set(PAGES) - linked - {"README.md"} == set()


def test_every_section_of_a_long_page_is_linked_at_its_top() -> None:
    """A fact is two clicks away: the README links the page, and the page its section."""
    others = {"README.md", "README.zh-CN.md", "CHANGELOG.md", "docs/code-map.md"}
    parts = sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("gateway*/*/[A-Z]*.md"))
    missing = []
    for page in [page for page in (*PAGES, *parts) if page not in others]:
        text = re.sub(r"^```.*?^```$", "", read(page), flags=re.DOTALL | re.MULTILINE)
        top, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
        titles = [section.partition("\n")[0].lower() for section in sections]
        anchors = [re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles]
        if len(anchors) > 4 and "/CHANGELOG" not in page:
            missing += [(page, anchor) for anchor in anchors if f"](#{anchor})" not in top]
    assert len(parts) > 4
    assert missing == []


@EACH_PAGE_OF_TODAY
def test_only_make_targets_that_exist_are_named(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`|\$ )make ([a-z]+)", read(page), flags=re.MULTILINE)) - targets == set()


@EACH_PAGE_OF_TODAY
def test_only_commands_that_exist_are_named(page: str) -> None:
    named = set(re.findall(r"(?:-m gateway|bin/image-gateway(?= )(?! image-gateway-admin)) ([a-z]+)", read(page)))
    of_the_script = {"parents", "reload", "roll", "tasks", "is"}
    named |= set(re.findall(r"image-gateway-admin ([a-z]+)(?=[ `])", read(page))) - of_the_script
    assert named - set(cli.main.list_commands(click.Context(cli.main))) == set()


def test_the_takedown_of_an_image_names_every_cache_of_nginx() -> None:
    caches = {
        folder
        for file in (ROOT / "config" / "nginx").glob("*.conf")
        for folder in re.findall(r"proxy_cache_path (\S+)", file.read_text(encoding="utf-8"))
    }
    assert len(caches) >= 3
    named = re.findall(r"(/var/cache/nginx/\S+)/\*", read("docs/runbook.md"))
    assert set(named) == caches


def test_whoever_installs_njs_reads_which_version_it_must_be() -> None:
    """Older ones ignore for how long a value is kept: ``changes.js`` does not work with them."""
    places = [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "config/nginx").glob("*.conf"),
        ROOT / "gateway/findings/findings.yaml",
    ]
    naming = {place.name: text for place in places if "libnginx-mod-http-js" in (text := place.read_text("utf-8"))}
    assert len(naming) >= 8
    assert [name for name, text in naming.items() if not re.search(r"njs(?: 模块)?\s0\.8\.5", text)] == []


@EACH_PAGE_OF_TODAY
def test_no_sql_is_piped_to_psql(page: str) -> None:
    """psql takes an empty pipe for a success: the SQL of a command that failed."""
    assert re.findall(r"sql (?:changes|links|images).*\| *psql", read(page)) == []


@EACH_PAGE_OF_TODAY
def test_only_settings_that_exist_are_named(page: str) -> None:
    text = read(page).replace("url_cache.defalt_ttl", "")  # the example of a mistake
    variables = re.findall(r"GATEWAY_([A-Z_]+__[A-Z_]+)", text)
    dotted = re.findall(rf"`((?:{'|'.join(Settings.model_fields)})\.[a-z_.]+)`", text)
    names = [name for name in dotted if not name.endswith((".conf", ".md", ".py", ".yaml"))]
    paths = [name.lower().split("__") for name in variables] + [name.split(".") for name in names]
    assert [path for path in paths if not key_at(*path)] == []


def shown_settings(page: str) -> dict[str, Any]:
    """Return the YAML examples of a page as one configuration."""
    shown: dict[str, Any] = {}
    for block in re.findall(r"^```yaml\n(.*?)^```", read(page), flags=re.DOTALL | re.MULTILINE):
        for section, keys in yaml.safe_load(block).items():
            shown.setdefault(section, {}).update(keys)
    return shown


def test_the_settings_in_the_examples_load() -> None:
    operations = shown_settings("docs/set-up.md")
    settings = Settings(**operations)
    assert settings.postgres.columns.model_dump().keys() == operations["postgres"]["columns"].keys()
    access = shown_settings("docs/access.md")
    assert access["access"].keys() == {"jwt", "signed_links"}
    postgres = operations["postgres"] | access.pop("postgres")
    Settings(**(operations | access | {"postgres": postgres}))
    cloud = shown_settings("docs/tencent-cloud.md")
    assert cloud["cos"].keys() == {"bucket", "credentials", "buckets"}
    Settings(**(operations | cloud))


async def test_every_address_of_both_ports_is_listed(gateway: RunningGateway) -> None:
    _, public, admin = re.split(r"^\| (?:public|admin) port.*$", read("docs/api.md"), flags=re.MULTILINE)
    listed = set(re.findall(r"(?:GET|POST|HEAD|DELETE) (/[^`? ]*)", public.partition("## ")[0]))
    assert listed == {
        resource.canonical.replace("{image_id}", "{id}")
        for resource in applications(gateway.service)[0].router.resources()
    }
    on_admin_port = set(re.findall(r"^\| `(?:GET|POST|DELETE) (/[^`? ]*)", admin, flags=re.MULTILINE))
    assert on_admin_port == {
        resource.canonical.replace("{image_id}", "{id}")
        for resource in applications(gateway.service)[1].router.resources()
    }


def test_the_delays_that_callers_notice_are_documented() -> None:
    assert f"**{LEEWAY} seconds of leeway**" in read("docs/access.md")
    assert f"404 for up to {UNKNOWN_TTL:g} seconds" in read("docs/access.md")
    assert f"404 for up to {UNKNOWN_TTL:g} seconds" in read("docs/api.md")


def errors(base: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield base
    for error in base.__subclasses__():
        yield from errors(error)


def test_every_error_code_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", read("docs/errors.md"), flags=re.MULTILINE)
    assert len(rows) == len(set(rows))
    there_are = {(error.code, error.status) for error in errors() if error.__module__.startswith("gateway.")}
    assert {(code, int(status)) for code, status in rows} == there_are


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    changelog = read("CHANGELOG.md")
    releases = re.findall(r"^## (.*)$", changelog, flags=re.MULTILINE)
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - (?:\d{4}-\d\d-\d\d|unreleased)", release) for release in releases)
    assert [release for release in releases[1:] if release.endswith("unreleased")] == []
    for release in re.split(r"^## .*$", changelog, flags=re.MULTILINE)[1:]:
        first, *others = re.split(r"^### ", release, flags=re.MULTILINE)[1:]
        title, *lines = first.split("\n")
        assert title == "Before you upgrade"
        assert len([line for line in lines if line]) <= 5
        assert {other.partition("\n")[0] for other in others} <= kinds


def test_a_change_takes_at_most_two_lines_of_the_changelog() -> None:
    """There is nothing else but headings: who upgrades reads it as a whole."""
    changelog = read("CHANGELOG.md")
    releases = changelog[changelog.index("\n## ") :]
    assert re.sub(r"^(#.*|- .*(\n  .*)?)$", "", releases, flags=re.MULTILINE).strip() == ""
    assert [line for line in releases.splitlines() if len(line) > 125] == []


def test_the_version_is_that_of_the_newest_release_and_says_if_that_is_not_released() -> None:
    newest = re.search(r"^## \[(.*?)\] - (\S+)", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert newest is not None
    unreleased = newest[2] == "unreleased"
    assert setup_cfg()["metadata"]["version"] == newest[1] + (".dev0" if unreleased else "")
    # npm writes a development version otherwise.
    version = newest[1] + ("-dev.0" if unreleased else "")
    assert json.loads(read("gateway/web/package.json"))["version"] == version
    lock = json.loads(read("gateway/web/package-lock.json"))
    assert [lock["version"], lock["packages"][""]["version"]] == [version, version]


@pytest.mark.parametrize(
    "page", ["production.md", "production.zh-CN.md", "deployment.md", "containers.md", "benchmarks.md"]
)
def test_instructions_name_the_newest_release_by_its_tag_and_its_files(page: str) -> None:
    released = re.findall(r"^## \[(.*?)\] - \d", read("CHANGELOG.md"), flags=re.MULTILINE)
    instructions = read(f"docs/{page}").partition("## Upgrade and roll back")[0]
    named = re.findall(r"\bv(\d+\.\d+\.\d+)\b|gateway(?:[-_](?:dev|web))?-(\d+\.\d+\.\d+)", instructions)
    assert {tag or file for tag, file in named} == {released[0]}
