"""Which tests `make quick` runs."""

from pathlib import Path

import pytest

from tests.changed import mirrors_of

OF_ALL = [
    "tests/test_imports.py",
    "tests/interface",
    "tests/commands/test_serve_imports.py",
    "tests/stories/test_request_path.py",
    "tests/reload/test_proofs.py",
]


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("gateway/access/policy.py", ["tests/access/test_policy.py", *OF_ALL]),
        ("gateway/access/metrics.py", ["tests/access", *OF_ALL]),
        ("gateway/presign/credentials/sources.py", ["tests/presign/credentials/test_sources.py", *OF_ALL]),
        ("gateway_dev/folder.py", ["tests/dev/test_folder.py"]),
        ("gateway_dev/cos_emulator/store.py", ["tests/cos_emulator/test_store.py"]),
        ("tests/access/test_policy.py", ["tests/access/test_policy.py"]),
        ("tests/access/callers.py", ["tests/access"]),
        ("tests/waiting.py", []),
        ("config/sql/links.sql", ["tests/config/test_sql_files.py"]),
        ("docs/api.md", ["tests/test_documents.py"]),
        ("gateway/web/src/vue.ts", ["tests/test_web_units.py"]),
        ("README.md", []),
    ],
)
def test_a_change_has_the_tests_that_mirror_it(changed: str, tests: list[str]) -> None:
    assert mirrors_of([changed]) == tests


def test_a_test_is_named_once_and_only_if_it_exists(tmp_path: Path) -> None:
    assert mirrors_of(["docs/api.md", "docs/errors.md"]) == ["tests/test_documents.py"]
    assert mirrors_of(["docs/api.md"], tmp_path) == []
