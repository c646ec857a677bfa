"""``docs/browsers.md``: the browsers of the web component, and what is tested in each, from the names of the tests."""

import ast

_INTRODUCTION = """\
# Browsers

<!-- `make docs` generates this page from tests/web/test_promise.py. -->

`<smart-image>` works in browsers since March 2024. In an older browser the element does nothing, and the `<img>` of the
page stays as it is. A page without an `<img>` in its `<smart-image>` shows nothing there.

`make test` runs each of these tests in Chromium, Firefox and WebKitGTK, as Debian has them.
WebKit that a test drives keeps nothing in its cache:
[how long a browser keeps an image](delivery.md#caches-in-front-and-how-fast-they-forget) is tested in Chromium and
Firefox only.

| | Chrome, Edge | Firefox | Safari |
|---|---|---|---|
| since version | 116 | 124 | 17.4 |
"""


def browsers(tests: str) -> str:
    """Return the page. ``tests`` is the source of the tests: those that request ``tab`` run in each browser."""
    names = [
        found.name.removeprefix("test_").replace("_", " ").capitalize()
        for found in ast.parse(tests).body
        if isinstance(found, ast.AsyncFunctionDef)
        and found.name.startswith("test_")
        and "tab" in {argument.arg for argument in found.args.args}
    ]
    return _INTRODUCTION + "".join(f"| {name} | ✓ | ✓ | ✓ |\n" for name in names)
