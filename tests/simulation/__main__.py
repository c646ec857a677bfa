"""``python -m tests.simulation``: run seeds for a number of minutes, and describe the first failures.

It ends with 1 if the promise was broken.
"""

import logging
import secrets
import sys
import time

import click

from tests.simulation.mutants import MUTANTS, install


@click.command()
@click.option("--minutes", default=1.0, help="How long to run.")
@click.option("--seed", type=int, help="Run this seed alone.")
@click.option("--only", help="The numbers of the steps that are left in the plan of the seed, with commas.")
@click.option("--first", type=int, help="Run the seeds from this one on, instead of fresh ones.")
@click.option("--mutant", type=click.Choice(sorted(MUTANTS)), help="Break the code in this way before.")
@click.option("--runs", default=10**9, help="How many seeds to run at most.")
@click.option("--shrink/--no-shrink", default=True, help="Look for the shortest trace of a failure.")
@click.option("--most", default=3, help="How many failures to describe before it ends.")
def main(
    minutes: float,
    seed: int | None,
    only: str | None,
    first: int | None,
    mutant: str | None,
    runs: int,
    shrink: bool,
    most: int,
) -> None:
    """Explore the way of a change."""
    if mutant is not None:
        install(MUTANTS[mutant])
    from tests.simulation import run
    from tests.simulation.run import describe, run_seed

    if mutant is not None:
        run.focus, run.planned = MUTANTS[mutant].faults, MUTANTS[mutant].plan
    logging.disable()
    if seed is not None:
        kept = [int(number) for number in only.split(",") if number] if only is not None else None
        failed = run_seed(seed, kept).failure is not None
        print(describe(seed, kept))
        sys.exit(failed)
    seed = first if first is not None else secrets.randbelow(2**48)
    print(f"from seed {seed} on")
    began, ran, failures, answers, hours = time.monotonic(), 0, 0, 0, 0.0
    while time.monotonic() < began + 60 * minutes and failures < most and ran < runs:
        result = run_seed(seed + ran)
        if result.failure is not None:
            failures += 1
            print(describe(seed + ran, None if shrink else range(len(result.plan.steps))), end="\n\n", flush=True)
        ran, answers, hours = ran + 1, answers + result.answers, hours + result.seconds / 3600
    took = (time.monotonic() - began) / 60
    print(f"{ran} runs, {failures} failures, {hours:.0f} simulated hours in {took:.1f} min, {answers} answers checked")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
