"""The group of commands."""

import click
import pytest
from click.testing import CliRunner

from gateway.cli import main

EXPECTED = ("serve", "dev", "check", "explain", "queue", "warm", "url", "link", "sql", "takedown")


@pytest.mark.parametrize("name", EXPECTED)
def test_every_command_has_a_help_text(name: str) -> None:
    result = CliRunner().invoke(main, [name, "-h"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: main {name}")


def test_the_group_lists_its_commands() -> None:
    assert main.list_commands(click.Context(main)) == sorted(EXPECTED)


def test_a_misspelled_command_is_a_mistake_in_one_line() -> None:
    result = CliRunner().invoke(main, ["serves"])
    assert result.exit_code == 2
    assert "No such command 'serves'" in result.output
