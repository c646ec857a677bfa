"""``config/sql`` holds the SQL of the package, and each script is one transaction."""

import pytest

from tests.config.files import CONFIG, ROOT, read


def test_the_sql_for_operators_equals_the_sql_of_the_package() -> None:
    """The package needs its own copies: an installed wheel has no config folder."""
    for_operators, packaged = (
        {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
        for folder in (CONFIG / "sql", ROOT / "gateway" / "catalog" / "sql")
    )
    assert for_operators.keys() == {"images.example.sql", "changes.sql", "links.sql"}
    assert packaged == for_operators


@pytest.mark.parametrize("file", ["images.example.sql", "changes.sql", "links.sql"])
def test_an_error_in_a_script_rolls_the_whole_script_back(file: str) -> None:
    """psql continues after an error unless ``ON_ERROR_STOP`` is set."""
    statements = [line for line in read(f"config/sql/{file}").splitlines() if line and not line.startswith("--")]
    assert statements[:2] == ["\\set ON_ERROR_STOP on", "BEGIN;"]
    assert statements[-1] == "COMMIT;"
