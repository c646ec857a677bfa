"""The plan of a run: what happens and when, which the seed chooses. A failure is shrunk by leaving steps out."""

from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

IMAGES: Final = ("a", "b", "c")
_SECONDS: Final = (12.0, 25.0, 45.0)
_LONGEST_JUMP: Final = 14_400.0


class Step(NamedTuple):
    """``name``: a method of ``World``. ``target``: a number that the method understands. ``value``: mostly seconds."""

    at: float
    name: str
    target: int = 0
    value: float = 0.0

    def __str__(self) -> str:
        return f"{self.at:6.2f} s  {self.name} target={self.target} value={self.value:.3f}"


class Plan(NamedTuple):
    """``steps`` are in order. ``jump``: quiet seconds after them. ``lag``: None: rows are read from the primary.

    has_cdn_before_nginx: False: it is before the gateways.
    """

    gateways: int
    lag: float | None
    skews: tuple[float, ...]
    keeps_decisions: bool
    has_cdn_before_nginx: bool
    seconds: float
    steps: tuple[Step, ...]
    jump: float


# Faults by what they strike; a run has a few kinds, so that one does not hide the others.
_FAULTS: Final = (
    ("pause_gateway",),
    ("kill_gateway",),
    ("pause_nginx",),
    ("reload_nginx", "restart_nginx"),
    ("refuse_lists",),
    ("lock_table",),
    ("hang_postgres", "stop_postgres"),
    ("deafen_feed", "cut_feed", "end_feed"),
    ("stop_redis", "hang_redis", "lose_answers"),
    ("refuse_writes",),
    ("lose_writes", "restore_redis"),
    ("deafen_channel", "cut_channel", "end_channel"),
    ("step_clock_of_gateway", "step_clock_of_nginx"),
    ("slow_network",),
    ("upgrade_gateway",),
)
# Those by which parts differ: what one gateway alone does not reach, hear or know.
_DIFFERENCES: Final = (
    ("cut_off_from_postgres", "refuse_rows"),
    ("cut_off_from_redis", "cut_off_from_both"),
    ("cut_off_from_nginx",),
    ("deafen_gateway",),
    ("cut_connection_for_rows",),
    ("change_sources",),
    ("drop_trigger",),
)


def make_plan(random: Random, focus: Sequence[str] | None = None) -> Plan:
    """Return the plan of a seed. ``focus``: the only faults, or none by which parts differ, if it is empty."""
    gateways, seconds = random.choice((2, 2, 3)), random.choice(_SECONDS)
    lag = random.choice((None, None, 0.3, 3.0))
    steps = [
        Step(random.uniform(0, seconds), "change", random.randrange(len(IMAGES)), random.random())
        for _ in range(random.choice((2, 5, 10, 20)))
    ]
    if random.random() < 0.4:
        period = random.choice((0.2, 1.0, 2.0, 5.0, 6.0))
        steps.append(Step(random.uniform(0, seconds / 2), "change_in_rhythm", random.randrange(len(IMAGES)), period))
    if random.random() < 0.2:
        steps.append(Step(random.uniform(0, seconds), "kill_links", random.randrange(3), random.random()))
    if random.random() < 0.2:
        steps.append(Step(random.uniform(0, seconds), "change_rights", 0, random.random()))
    chosen: Sequence[Sequence[str]] = random.sample(_FAULTS, random.choice((0, 1, 1, 2, 2, 3)))
    for kinds in [[kind] for kind in focus or ()] or chosen:
        steps += _faults(random, kinds, seconds)
    skews = tuple(random.choice((0.0, 0.0, -2.0, 2.0, -10.0, 10.0)) for _ in range(gateways + 1))
    keeps_decisions = random.random() < 0.3
    jump = random.choice((0.0, random.uniform(0, 60), random.uniform(0, _LONGEST_JUMP)))
    if focus is None:
        for kinds in random.sample(_DIFFERENCES, random.choice((0, 0, 1, 1, 2))):
            steps += _faults(random, kinds, seconds)
    has_cdn_before_nginx = random.random() < 0.5
    if focus is None and random.random() < 0.2:
        steps += _faults(random, ("slow_cos",), seconds)
    return Plan(gateways, lag, skews, keeps_decisions, has_cdn_before_nginx, seconds, tuple(sorted(steps)), jump)


def _faults(random: Random, kinds: Sequence[str], seconds: float) -> list[Step]:
    """Return some faults of one kind."""
    steps = []
    for _ in range(random.choice((1, 1, 2, 4))):
        length = random.choice((random.uniform(0, 1), random.uniform(0, 12), random.uniform(8, 25)))
        steps.append(Step(random.uniform(0, seconds), random.choice(kinds), random.randrange(3), length))
    return steps
