"""Lines of the log: what they say, and that they print no credential."""

import json
import logging
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.request_context import current_request_id
from gateway.process.log_format import ConsoleFormatter, JsonFormatter, redact

FORMATTERS: dict[str, Callable[[], logging.Formatter]] = {
    "json": JsonFormatter,
    "console": lambda: ConsoleFormatter(colours=False),
    "colours": lambda: ConsoleFormatter(colours=True),
}


def record(message: str, *arguments: object, level: int = logging.WARNING, created: float = 0.0) -> logging.LogRecord:
    """A record of the logger ``gateway.somewhere``."""
    made = logging.LogRecord("gateway.somewhere", level, __file__, 1, message, arguments, None)
    made.created = created
    return made


def failed(secret: str) -> logging.LogRecord:
    """A record with the traceback of an error with a signature, in whose function ``secret`` is a local variable."""
    made = record("it failed")
    local_value = secret
    try:
        int(local_value[:0] or "of ?q-signature=da39a3ee5e6b")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_json_line_has_these_keys_in_this_order() -> None:
    token = current_request_id.set("request-42")
    line = JsonFormatter().format(record("a row: image_id=%s", "cat", created=1_770_000_000.25))
    current_request_id.reset(token)
    assert line == (
        '{"event": "a row: image_id=cat", "level": "warning", "logger": "gateway.somewhere", '
        '"timestamp": "2026-02-02T02:40:00.250000Z", "request_id": "request-42"}'
    )
    assert json.loads(JsonFormatter(2).format(record("ready")))["worker"] == 2
    assert ConsoleFormatter(2, colours=False).format(record("ready")).endswith("[gateway.somewhere] worker=2")


def test_a_message_with_control_characters_is_one_line_for_people() -> None:
    made = ConsoleFormatter(colours=False).format(record("a row: image_id=%s", "cat\n2026 [error] \x1b[31m"))
    assert made.endswith("a row: image_id=cat?2026 [error] ?[31m [gateway.somewhere]")


@given(message=st.text())
def test_every_message_becomes_one_line_that_says_the_same(message: str) -> None:
    line = JsonFormatter().format(record("%s", f"said: {message}"))
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["event"] == redact(f"said: {message}")


def test_a_console_line_is_readable_text() -> None:
    token = current_request_id.set("request-42")
    line = FORMATTERS["console"]().format(record("a row: image_id=%s", "cat", created=1_770_000_000.25))
    current_request_id.reset(token)
    assert line == (
        "2026-02-02T02:40:00.250000Z [warning  ] a row: image_id=cat [gateway.somewhere] request_id=request-42"
    )


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL])
def test_colours_change_nothing_but_colours(level: int) -> None:
    coloured, plain = (FORMATTERS[name]().format(record("said", level=level)) for name in ("colours", "console"))
    assert coloured != plain
    for colour in ("0", "1", "2", "31", "32", "33"):
        coloured = coloured.replace(f"\x1b[{colour}m", "")
    assert coloured == plain


@pytest.mark.parametrize("name", FORMATTERS)
def test_a_traceback_names_the_error_and_neither_a_value_of_a_variable_nor_a_signature(name: str) -> None:
    line = FORMATTERS[name]().format(failed("the-secret-of-somebody"))
    assert "ValueError: invalid literal" in line
    assert not any(secret in line for secret in ("the-secret-of-somebody", "da39a3ee5e6b"))
    assert "\n" not in line or name != "json"
    made = record("here")
    made.stack_info = "Stack (most recent call last): of this"  # for which a caller asks
    assert "most recent call last): of this" in FORMATTERS[name]().format(made)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("q-signature=abc&x=1", "q-signature=***&x=1"),
        ("Q-SIGNATURE=abc", "Q-SIGNATURE=***"),
        ("?sign=q-sign-algorithm%3Dsha1", "?sign=***"),
        ("/i/cat?kid=k&exp=1&sig=abc", "/i/cat?kid=k&exp=1&sig=***"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer ***"),
        ("{'Authorization': 'bearer abc'}", "{'Authorization': 'bearer ***'}"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_signatures_and_tokens_are_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize("formatter", FORMATTERS)
@given(
    before=st.text(max_size=20),
    name=st.sampled_from(["q-signature=", "q-ak=", "sign=", "sig=", "x-cos-security-token=", "Bearer "]),
    secret=st.from_regex(r"[A-Za-z0-9%+/=._~-]{20,60}", fullmatch=True),
)
def test_a_secret_is_redacted_wherever_it_stands(formatter: str, before: str, name: str, secret: str) -> None:
    assert secret not in FORMATTERS[formatter]().format(record("%s", before + name + secret))
