"""Lua scripts whose keys and arguments have names: a function declares them, and its call gives what EVAL takes."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from typing import Annotated, Any, Final, ParamSpec, TypeAlias, get_type_hints

P = ParamSpec("P")

Value: TypeAlias = bytes | str | float
# The script, the number of keys, the keys, and the arguments.
Call: TypeAlias = tuple[str, int, *tuple[Value, ...]]

_KEY: Final = "key"
_KEYS: Final = "keys"
_VALUES: Final = "values"

Key: TypeAlias = Annotated[str, _KEY]
"""One key; a string in Lua."""
Keys: TypeAlias = Annotated[Sequence[str], _KEYS]
"""A number of keys that varies; a table in Lua, which may be empty."""
Values: TypeAlias = Annotated[Sequence[Value], _VALUES]
"""All further arguments, after which none can follow; a table in Lua."""


def lua_script(body: str) -> Callable[[Callable[P, None]], Callable[P, Call]]:
    """Make a function, whose parameters are all keyword-only, return the arguments of EVAL for ``body``.

    In the body, each parameter is a local variable of the same name: a string, or a table for ``Keys`` and ``Values``.
    Numbers arrive as strings, because redis-py sends them in decimal.

    EVAL is used and not EVALSHA: a pipeline cannot answer NOSCRIPT.
    """

    def declare(function: Callable[P, None]) -> Callable[P, Call]:
        kinds = _kinds_of(function)
        keys = [name for name, kind in kinds.items() if kind == _KEY]
        groups = [name for name, kind in kinds.items() if kind == _KEYS]
        arguments = [name for name, kind in kinds.items() if not kind]
        tail = [name for name, kind in kinds.items() if kind == _VALUES]
        lua = f"{_locals(keys, groups, arguments, tail)}{body}"

        @wraps(function)
        def call(*_: P.args, **given: P.kwargs) -> Call:
            named: list[Any] = [given[name] for name in keys]
            lengths = []
            for name in groups:
                group: Any = given[name]
                named += group
                lengths.append(len(group))
            values: list[Any] = [given[name] for name in arguments]
            for name in tail:
                more: Any = given[name]
                values += more
            return lua, len(named), *named, *lengths, *values

        return call

    return declare


def _kinds_of(function: Callable[..., None]) -> dict[str, str]:
    """Return the kind of each parameter by name, in order. The kind of a single argument is empty."""
    hints = get_type_hints(function, include_extras=True)
    return {name: getattr(hints[name], "__metadata__", ("",))[0] for name in signature(function).parameters}


def _locals(keys: Sequence[str], groups: Sequence[str], arguments: Sequence[str], tail: Sequence[str]) -> str:
    """Return the Lua that gives the keys and arguments their names. ARGV starts with the length of each group."""
    lines = [f"local {name} = KEYS[{at}]" for at, name in enumerate(keys, 1)]
    before = str(len(keys))
    for at, name in enumerate(groups, 1):
        lines.append(f"local {name} = {{unpack(KEYS, {before} + 1, {before} + ARGV[{at}])}}")
        before += f" + ARGV[{at}]"
    lines += [f"local {name} = ARGV[{at}]" for at, name in enumerate(arguments, len(groups) + 1)]
    lines += [f"local {name} = {{unpack(ARGV, {len(groups) + len(arguments) + 1})}}" for name in tail]
    return "\n".join(lines)
