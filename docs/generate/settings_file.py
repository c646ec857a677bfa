"""A parser for the comments of ``config/gateway.yaml``: the explanation, default and examples of each key."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# "#key: value" is a setting that is commented out, "key: value" one that is set; two spaces for each level.
_SETTING = re.compile(r"^(?P<indent> *)(?P<off>#?)(?P<name>[a-z_]+):(?P<value>.*)$")
_EXAMPLE = re.compile(r"^ *#   (?P<text>.*)$")
_COMMENT = re.compile(r"^ *# (?P<text>.*)$")


@dataclass
class Explained:
    """A key of the file: ``default`` as written there, and the blocks of its comment in order.

    ``is_set``: the key is not commented out, so its value is no default.
    """

    path: str
    default: str
    is_set: bool = False
    blocks: list["Block"] = field(default_factory=list)


@dataclass
class Block:
    """Lines of a comment: prose, or an example in YAML."""

    is_example: bool
    lines: list[str]


def explained_keys(text: str) -> Iterator[Explained]:
    """Yield every key in the order of the file, sections included; the comment at the top of the file is left out."""
    blocks: list[Block] = []
    parents: list[str] = []
    for line in text.splitlines():
        if setting := _SETTING.match(line):
            depth = len(setting["indent"]) // 2
            parents = [*parents[:depth], setting["name"]]
            yield Explained(
                ".".join(parents),
                setting["value"].strip(),
                not setting["off"],
                [block for block in blocks if block.lines],
            )
            blocks = []
        elif example := _EXAMPLE.match(line):
            _add(blocks, example["text"], is_example=True)
        elif comment := _COMMENT.match(line):
            _add(blocks, comment["text"], is_example=False)
        elif line.strip() == "#":
            blocks.append(Block(False, []))
        else:
            blocks = []  # an empty line ends a comment that belongs to no key


def _add(blocks: list[Block], line: str, *, is_example: bool) -> None:
    if not blocks or blocks[-1].is_example is not is_example:
        blocks.append(Block(is_example, []))
    blocks[-1].lines.append(line)
