"""A run of a seed, what a failure prints, and how it is shrunk."""

import asyncio
import random as global_random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from gateway.concurrency.time_limits import TimeSlices
from tests.simulation.loop import ExploringLoop
from tests.simulation.plan import Plan, make_plan
from tests.simulation.world import World

LOOP_BEGIN: Final = 1_000.0


class _WorkTime:
    """The time that long work takes, in place of ``time.perf_counter``: now and then it pauses."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self._random.choice((0.0, 0.0, 0.0, 0.002))
        return self._now


@dataclass(slots=True)
class Result:
    """``failure``: None if the promise was kept. ``seconds``: how many were simulated. ``answers``: those checked."""

    seed: int
    plan: Plan
    failure: str | None
    steps: int
    seconds: float
    answers: int
    notes: list[tuple[float, str]] = field(default_factory=list)


# The only faults of all plans: what the mechanism is for that a mutant breaks. None: the seeds choose.
focus: Sequence[str] | None = None
# The seed of all plans, if there is one; the seed of a run still chooses the order.
planned: int | None = None


def run_seed(seed: int, only: Sequence[int] | None = None) -> Result:
    """Run the plan of a seed. ``only``: the numbers of the steps that are left in it."""
    plan = _plan_of(seed)
    if only is not None:
        plan = plan._replace(steps=tuple(plan.steps[number] for number in only if number < len(plan.steps)))
    return run_plan(seed, plan)


def _plan_of(seed: int) -> Plan:
    return make_plan(Random(seed if planned is None else planned), focus)


def run_plan(seed: int, plan: Plan) -> Result:
    """Run a plan in the order that the seed chooses."""
    random = Random(seed ^ 0x5EED)
    state = global_random.getstate()
    global_random.seed(seed)
    defaults, TimeSlices.__init__.__defaults__ = TimeSlices.__init__.__defaults__, (_WorkTime(random),)
    loop = ExploringLoop(random)
    failure: str | None = None
    world = None
    try:
        world = loop.run_until_complete(_make(loop, random, plan))
        loop.run_until_complete(_run(world))
    except AssertionError as error:
        failure = str(error) or type(error).__name__
    except Exception as error:  # noqa: BLE001 - a finding
        failure = f"{type(error).__name__}: {error}"
    finally:
        loop.end()
        global_random.setstate(state)
        TimeSlices.__init__.__defaults__ = defaults
    assert world is not None
    seconds = loop.time() - LOOP_BEGIN + world.skipped
    return Result(seed, plan, failure, loop.steps, seconds, world.answers, world.notes)


async def _make(loop: ExploringLoop, random: Random, plan: Plan) -> World:
    return World(loop, random, plan)


async def _run(world: World) -> None:
    run = asyncio.ensure_future(world.run())
    await asyncio.wait([run, world.failure], return_when=asyncio.FIRST_COMPLETED)
    if world.failure.done():
        world.failure.result()
    run.result()


def shrink(seed: int, seconds: float = 20.0) -> list[int]:
    """Return the numbers of the fewest steps with which the seed still fails, as far as the time allows."""
    kept = list(range(len(_plan_of(seed).steps)))
    kind = _kind(run_seed(seed))
    deadline = time.monotonic() + seconds
    size = max(1, len(kept) // 2)
    while size and time.monotonic() < deadline:
        is_smaller = False
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            if _kind(run_seed(seed, fewer)) == kind:
                kept, is_smaller = fewer, True
                break
        if not is_smaller:
            size //= 2
    return kept


def _kind(result: Result) -> str | None:
    """Return what has failed, without the numbers and names."""
    return re.sub(r"[0-9.]+|'[^']*'|[a-c]\b", "#", result.failure) if result.failure is not None else None


def describe(seed: int, only: Sequence[int] | None = None) -> str:
    """Return what a failure prints: the seed, the shortest trace found, and the command that repeats it."""
    kept = shrink(seed) if only is None else only
    result = run_seed(seed, kept)
    plan = result.plan
    numbers = ",".join(map(str, kept))
    lines = [
        f"seed {seed}: {result.failure or 'the promise is kept'}",
        f"{plan.gateways} gateways, standby {plan.lag}, clocks {plan.skews}, decisions {plan.keeps_decisions}",
        *(f"{at - LOOP_BEGIN:9.3f} s  {text}" for at, text in result.notes),
        f"repeat it: make simulate SEED={seed} ONLY={numbers}",
    ]
    return "\n".join(lines)
