"""Why an image is served or not: a verdict, and the facts of each step, as text and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.net.printable import printable

# A fact is a word, a number, or a mapping of such facts; None: not known.
Fact = str | int | float | bool | None | Mapping[str, "Fact"] | Sequence["Fact"]
Facts = dict[str, Fact]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer that a client gets: ``status``, the gateway's error ``code`` (None for an image) and the reason."""

    status: int
    code: str | None
    reason: str
    advice: str = ""  # empty if no action is needed

    @property
    def is_served(self) -> bool:
        """Whether the client gets the image."""
        return self.code is None


@dataclass(slots=True)
class Explanation:
    """The explanation of the answer to an image request: the verdict, and a section of facts for each step."""

    image_id: str
    verdict: Verdict
    sections: dict[str, Facts] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        verdict = {"served": self.verdict.is_served, **asdict(self.verdict), "advice": self.verdict.advice or None}
        return {"image_id": self.image_id, "verdict": verdict, **self.sections}

    def as_lines(self) -> list[str]:
        """Return the explanation line by line, the verdict first. The lines are safe to print on a terminal."""
        verdict = self.verdict
        word = "ok" if verdict.is_served else "fail"
        code = f" {verdict.code}" if verdict.code is not None else ""
        lines = [f"{word:5} {self.image_id}: {verdict.status}{code}: {verdict.reason}"]
        if verdict.advice:
            lines.append(f"      {verdict.advice}")
        for name, facts in self.sections.items():
            lines += ["", name, *_lines(facts, indent="  ")]
        return [printable(line) for line in lines]


def _lines(facts: Mapping[str, Fact], indent: str) -> list[str]:
    lines: list[str] = []
    for name, fact in facts.items():
        label = f"{indent}{name.replace('_', ' ')}:"
        if isinstance(fact, Mapping):
            lines += [label, *_lines(fact, indent + "  ")]
        elif isinstance(fact, Sequence) and not isinstance(fact, str):
            lines.append(f"{label} {', '.join(map(_word, fact)) or 'none'}")
        else:
            lines.append(f"{label} {_word(fact)}")
    return lines


def _word(fact: Fact) -> str:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return "none" if fact is None else str(fact)
