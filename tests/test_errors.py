"""Every outcome a client can see."""

import re
from collections.abc import Iterator

import pytest

import gateway.catalog.postgres  # noqa: F401 - its outcomes, too
from gateway import errors
from gateway.catalog.record import RowsUnreadable
from gateway.errors import GatewayError
from gateway.redis_connection.client import WrongRedis

SECRETS = "bucket photos-1250000000 key private/cat.png https://cos/?q-signature=abc"


def outcomes() -> Iterator[type[GatewayError]]:
    """Yield every error class, including the base."""
    found = [GatewayError]
    while found:
        error = found.pop()
        found += error.__subclasses__()
        yield error


def example(outcome: type[GatewayError]) -> GatewayError:
    """Return an instance as its adapter raises it."""
    match outcome:
        case errors.MethodNotAllowed:
            return errors.MethodNotAllowed("POST")
        case errors.RangeNotSatisfiable:
            return errors.RangeNotSatisfiable(1000)
        case _ if outcome is WrongRedis:
            return WrongRedis(SECRETS, SECRETS)
        case _ if outcome is RowsUnreadable:
            return RowsUnreadable(SECRETS, ["cat"])
        case _ if issubclass(outcome, errors.InvalidRequest):
            return outcome()
        case _:
            return outcome(SECRETS)


@pytest.mark.parametrize("outcome", [*outcomes()])
def test_an_outcome_has_a_status_a_stable_code_and_words_for_the_client(outcome: type[GatewayError]) -> None:
    error = example(outcome)
    assert 400 <= error.status <= 599
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.message
    for word in SECRETS.split():
        assert word not in error.message.split()
    assert all(isinstance(value, str) for value in error.headers.values())


def test_every_code_belongs_to_one_error() -> None:
    """A class that defines no code is the outcome of its base to clients."""
    codes = [outcome.code for outcome in outcomes() if "code" in vars(outcome)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("outcome", [outcome for outcome in outcomes() if outcome.status in {429, 503}])
def test_every_429_and_503_says_when_to_come_back(outcome: type[GatewayError]) -> None:
    assert int(example(outcome).headers["Retry-After"]) > 0


def test_only_the_log_gets_the_text_that_an_error_was_raised_with() -> None:
    error = errors.OriginUnavailable("COS answered 500")
    assert str(error) == "COS answered 500"
    assert error.message == "the image store did not respond properly"


def test_an_invalid_request_says_what_is_wrong() -> None:
    assert errors.InvalidRequest("the body must be JSON").message == "the body must be JSON"
    assert errors.InvalidRequest().message == "the request is not valid"


def test_headers_that_http_asks_for_are_there() -> None:
    assert errors.Unauthorized().headers["WWW-Authenticate"].startswith("Bearer ")
    assert errors.MethodNotAllowed("GET,HEAD").headers == {"Allow": "GET,HEAD"}
    assert errors.RangeNotSatisfiable(1000).headers == {"Content-Range": "bytes */1000"}
    assert errors.RangeNotSatisfiable(None).headers == {}
    assert errors.RangeNotSatisfiable(0).headers == {"Content-Range": "bytes */0"}
