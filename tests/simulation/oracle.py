"""The oracle: knows every version of every row and when it counted, and compares each answer with the promise."""

from typing import Final

from tests.simulation import promise
from tests.simulation.gateway_process import Answer
from tests.simulation.postgres_model import OWNER, Postgres, Row

_ALWAYS: Final = float("inf")


class Broken(AssertionError):
    """The promise is broken."""


def replaced_at(postgres: Postgres, image_id: str, answer: Answer) -> tuple[float, int]:
    """Return when the version was replaced that an answer is made of, and by which commit.

    Of a 404 it is the last version that the viewer may not see. Of the present version the time is infinite.
    """
    history = postgres.history[image_id]
    end = _ALWAYS, 0
    for commit in reversed(history):
        if _agrees(commit.row, answer):
            return end
        end = commit.at, commit.position
    if answer.status == 404:
        return end  # before the first row
    raise Broken(f"{image_id} was never {answer.key}")


def _agrees(row: Row, answer: Answer) -> bool:
    assert answer.setup is not None
    return answer.key == key_for(row, answer.viewer, is_private=answer.setup.is_private)


def key_for(row: Row, viewer: str, *, is_private: bool) -> str | None:
    """Return the key of the image that a viewer gets. None: 404. ``is_private``: no column says that it is public."""
    return row.key if row.is_active and (viewer == OWNER or (row.is_public and not is_private)) else None


def allowed_age(answer: Answer, bound: float) -> float:
    """Return how old the row of an answer may be, where ``bound`` is promised for images."""
    return bound + promise.MISSING if answer.status == 404 else bound
