"""The ways an image can leave, and how to tell that it did. One added here is in every test of access."""

from collections.abc import Callable

from tests.conftest import BUCKET, Answer

BODY = b"bytes that are nobody else's business"


def _streamed(answer: Answer) -> bool:
    return (answer.status, answer.body) == (200, BODY)


def _redirected(answer: Answer) -> bool:
    return answer.status == 302 and "q-signature=" in answer.headers["Location"]


def _handed_over(answer: Answer) -> bool:
    return answer.status == 200 and "q-signature=" in answer.headers.get("X-Origin-URL", "")


# ``image_proxy.delivery`` -> whether an answer to GET has let the image out.
DELIVERIES: dict[str, Callable[[Answer], bool]] = {"stream": _streamed, "redirect": _redirected, "accel": _handed_over}


def tells_nothing(answer: Answer) -> bool:
    """Whether an answer has nothing of an image: no byte, no address, no validator, no length."""
    told = {name.lower() for name in answer.headers}
    hints = {"etag", "last-modified", "location", "content-range", "accept-ranges", "x-accel-redirect"}
    hints |= {"x-origin-url", "x-origin-etag", "x-origin-length", "x-origin-range"}
    text = f"{answer.headers} {answer.body!r}"
    secrets = (BODY.decode(), BUCKET, "q-sign", "objects/")
    return not told & hints and not any(secret in text for secret in secrets)
