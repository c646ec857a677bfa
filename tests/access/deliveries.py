"""Delivery modes and how a test recognizes each. Every access test runs in every mode of ``DELIVERIES``."""

from collections.abc import Callable

from tests.conftest import BUCKET, Answer

BODY = b"bytes of a private image"


def _streamed(answer: Answer) -> bool:
    return (answer.status, answer.body) == (200, BODY)


def _redirected(answer: Answer) -> bool:
    return answer.status == 302 and "q-signature=" in answer.headers["Location"]


def _handed_over(answer: Answer) -> bool:
    return answer.status == 200 and "q-signature=" in answer.headers.get("X-Origin-URL", "")


# ``image_proxy.delivery`` -> whether a response to GET delivers the image.
DELIVERIES: dict[str, Callable[[Answer], bool]] = {"stream": _streamed, "redirect": _redirected, "accel": _handed_over}


def reveals_nothing(answer: Answer) -> bool:
    """Whether a response has no byte, address, validator or length of an image."""
    names = {name.lower() for name in answer.headers}
    hints = {"etag", "last-modified", "location", "content-range", "accept-ranges", "x-accel-redirect"}
    hints |= {"x-origin-url", "x-origin-etag", "x-origin-length", "x-origin-range"}
    text = f"{answer.headers} {answer.body!r}"
    secrets = (BODY.decode(), BUCKET, "q-sign", "objects/")
    return not names & hints and not any(secret in text for secret in secrets)
