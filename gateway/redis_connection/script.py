"""Lua scripts of Redis, whose keys and arguments have names."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from gateway.redis_connection.guarded_client import Command


class Script:
    """A Lua script. In its body, keys and arguments are local variables, and ``rows`` is a list of tables.

    All of them are strings: redis-py sends numbers in decimal. EVALSHA is not used: a pipeline cannot answer NOSCRIPT.

    keys, arguments: the names, separated by spaces. The last key may be ``*name``: a list of any number of keys.
    rows: the names of the fields of a row, separated by spaces.
    """

    def __init__(self, *, keys: str, arguments: str = "", rows: str = "", body: str) -> None:
        names, _, self._more = keys.partition("*")
        self._keys, self._arguments, fields = names.split(), arguments.split(), rows.split()
        self._names = {*self._keys, *self._arguments, *([self._more] if self._more else [])}
        lines = [
            f"local {', '.join(names)} = unpack({array}, 1, {len(names)})"
            for array, names in (("KEYS", self._keys), ("ARGV", self._arguments))
            if names
        ]
        if self._more:
            lines.append(f"local {self._more} = {{unpack(KEYS, {len(self._keys) + 1})}}")
        if fields:
            row = ", ".join(f"{name} = ARGV[at + {place}]" for place, name in enumerate(fields))
            first = len(self._arguments) + 1
            lines += ["local rows = {}", f"for at = {first}, #ARGV, {len(fields)} do rows[#rows + 1] = {{{row}}} end"]
        self.lua = "\n".join((*lines, body.lstrip()))

    def command(self, *, rows: Iterable[Sequence[object]] = (), **named: Any) -> Command:
        """Return the command that runs the script. Raises ``TypeError`` for other names than the script has."""
        if named.keys() != self._names:
            raise TypeError(f"the names of the script are {sorted(self._names)}, not {sorted(named)}")
        keys = [named[name] for name in self._keys]
        if self._more:
            keys += named[self._more]
        return (
            "EVAL",
            self.lua,
            len(keys),
            *keys,
            *(named[name] for name in self._arguments),
            *chain.from_iterable(rows),
        )
