"""The rows of figures in the READMEs' table of pages, from the table of ``docs/benchmarks.md``."""

import re
from typing import Final

_MEASURED: Final = re.compile(r"^\| .+? \| ([\d,]+) \| [\d.]+ \| ([\d,]+) \|$", re.MULTILINE)
_COLUMNS: Final = 6  # of the READMEs; the later rows of the benchmarks are left out
_ROWS: Final = re.compile(r"^\| kB \|.*\n\| LCP, s \|.*$", re.MULTILINE)


def with_page_table(readme: str, benchmarks: str) -> str:
    """Return the README with the figures of the newest measurement of pages, in the order of the libraries."""
    measured = _MEASURED.findall(benchmarks.partition("\n## Pages\n")[2])[:_COLUMNS]
    rows = {
        "kB": (f"{int(size.replace(',', '')) / 1000:,.0f}" for size, _ in measured),
        "LCP, s": (f"{int(paint.replace(',', '')) / 1000:.1f}" for _, paint in measured),
    }
    return _ROWS.sub("\n".join(f"| {' | '.join((name, *figures))} |" for name, figures in rows.items()), readme)
