"""Files that are not YAML, and repeated keys."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.settings.sources import SettingsError, load_settings
from tests.settings.problems import MISSING, REQUIRED, SECRET, problems


def test_all_repeated_keys_are_reported_at_once(file: Path) -> None:
    """YAML keeps the last value: part of a section would be lost."""
    more = "server: {port: 1, host: a, port: 2, port: 3, host: b}\nserver: {}\n"
    assert [line.partition(":")[0] for line in problems(file, more)] == [
        "server.port",
        "server.port",
        "server.host",
        "server",
    ]


def test_a_file_is_read_up_to_one_mebibyte(file: Path, tmp_path: Path) -> None:
    file.write_text(REQUIRED + "#" * ((1 << 20) - len(REQUIRED)))
    load_settings(file)
    file.write_text(file.read_text() + "#")
    assert problems(file) == [f"{file}: is larger than 1 MiB"]
    with pytest.raises(SettingsError, match=r"/dev/zero: is larger than 1 MiB"):
        load_settings(Path("/dev/zero"))


def test_an_alias_does_not_repeat_a_key(file: Path) -> None:
    file.write_text(REQUIRED + "image_styles: &styles {a: imageMogr2/x}\n")
    before = load_settings(file)
    file.write_text(REQUIRED + "image_styles: {<<: &more {a: imageMogr2/y}, a: imageMogr2/x}\n")
    assert load_settings(file) == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(tmp_path / "missing.yaml")
    assert refused.value.problems == [f"{tmp_path}/missing.yaml: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    "text",
    [
        "server: [1",
        f"cos: {{secret_key: {SECRET}: wrong}}",
        f"cos:\n  secret_key: {SECRET}: wrong",
        f"cos: {{secret_key: *{SECRET}}}",
        f"cos: {{secret_key: !{SECRET} x}}",
        f"server: {{port: !!int {SECRET}}}",
        "server: {host: 2026-99-99}",
        "server: {port: 0x_}",
        "[" * 400,
        "server: {[1]: 2}",
        "server: \x00",
    ],
)
def test_invalid_yaml_is_reported_in_one_line_without_quoting_it(file: Path, text: str) -> None:
    file.write_text(text)
    (line,) = problems(file)
    assert line.startswith(f"{file}: is not YAML")


def test_bytes_that_are_not_text_are_reported_as_invalid_yaml(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00server")
    with pytest.raises(SettingsError, match="is not YAML"):
        load_settings(file)


@pytest.mark.parametrize("text", ["- server", "just words", "5", "1: 2", "true"])
def test_a_file_that_is_not_a_mapping_of_sections_is_a_mistake(file: Path, text: str) -> None:
    file.write_text(text)
    assert problems(file) == [f"{file}: must be a mapping of sections, such as 'server:'"]


def test_an_empty_file_lacks_the_required_keys(file: Path) -> None:
    file.write_text("")
    assert problems(file) == MISSING


@given(text=st.text(max_size=60))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_any_text_is_refused_with_lines(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes(text.encode(errors="replace"))
    with pytest.raises(SettingsError):
        load_settings(file)
