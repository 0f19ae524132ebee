"""The command line of the simulation: many seeds on all cores, the mutants, or one long day.

    python -m tests.sim --seeds 1000 --start 0     a thousand runs; a failing one tells how to replay
    python -m tests.sim --seeds 1 --start 7 -v     one of them, with what happened
    python -m tests.sim --mutants                  each guard taken out, and what notices
    python -m tests.sim --day                      a day of traffic in one run

It exits with 1 if an invariant was broken, or a mutant survived.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from tests.sim import day
from tests.sim.mutants import MUTANTS, Caught, hunt
from tests.sim.script import SECONDS
from tests.sim.world import Result, run

PROGRESS_S: Final = 5.0
HUNT_SEEDS: Final = 200
"""A mutant that no seed of so many notices has survived."""


def main() -> int:
    """Parses the arguments, runs, and gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=1000, help="how many runs (1000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of turmoil in each run")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--mutants", action="store_true", help="take the guards out, one by one")
    parser.add_argument("--day", action="store_true", help="one run of a whole day")
    parser.add_argument("-v", action="store_true", help="what happened last, in any case")
    asked = parser.parse_args()
    if asked.mutants:
        return _mutants(asked.jobs)
    if asked.day:
        return _day(asked.start)
    return _seeds(asked)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _spread(act: Callable[[Any], Any], over: Iterable[Any], jobs: int) -> Iterator[Any]:
    """Over all cores, each in the order in which it is done."""
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap_unordered(act, over)


def _seeds(asked: argparse.Namespace) -> int:
    began_s = said_s = time.perf_counter()
    seeds = range(asked.start, asked.start + asked.seeds)
    done = happened = crashes = messages = 0
    virtual_s = 0.0
    failed: list[Result] = []
    for result in _spread(partial(run, seconds=asked.seconds), seeds, asked.jobs):
        done += 1
        happened += result.happened
        crashes += result.crashes
        messages += result.seen["accepted"]
        virtual_s += result.virtual_s
        if result.invariant:
            failed.append(result)
        if result.invariant or asked.v:
            _tell(result, asked.seconds)
        if time.perf_counter() - said_s > PROGRESS_S:
            said_s = time.perf_counter()
            _say(f"{done} of {asked.seeds} seeds, {len(failed)} failed")
    took_s = time.perf_counter() - began_s
    _say(
        f"{done} seeds in {took_s:.0f} s: {happened:,} events, {messages:,} messages accepted, "
        f"{crashes:,} crashes, {virtual_s / 3600:.1f} h of virtual time; {len(failed)} failed"
    )
    for result in sorted(failed):
        _say(f"  {result.what}: {_command(result, asked.seconds)}")
    return 1 if failed else 0


def _tell(result: Result, seconds: float) -> None:
    for line in result.journal:
        _say(f"    {line}")
    _say(f"seed {result.seed}: {result.what or 'every invariant held'}")
    _say(f"    digest {result.digest:08x}, {result.happened} events, {result.crashes} crashes")
    _say(f"    again: {_command(result, seconds)}")


def _command(result: Result, seconds: float) -> str:
    return f"python -m tests.sim --seeds 1 --start {result.seed} --seconds {seconds:g} -v"


def _mutants(jobs: int) -> int:
    began_s = time.perf_counter()
    places = range(len(MUTANTS))
    found: dict[int, Caught] = {}
    for place, caught in _spread(_hunt, places, jobs):
        found[place] = caught
        _say(f"{len(found)} of {len(MUTANTS)} mutants")
    width = max(len(mutant.guard) for mutant in MUTANTS)
    _say(f"{'invariant':24} {'guard taken out':{width}} {'seed':>5}  caught by")
    for place in places:
        mutant, result = found[place].mutant, found[place].result
        seed, by = ("", "NOTHING") if result is None else (str(result.seed), result.invariant)
        if result is not None and not found[place].is_as_meant:
            by += ", NOT BY THE INVARIANT THAT IT IS MEANT FOR"
        _say(f"{mutant.invariant:24} {mutant.guard:{width}} {seed:>5}  {by}")
    survived = sum(not caught.is_as_meant for caught in found.values())
    _say(f"{len(found)} mutants in {time.perf_counter() - began_s:.0f} s, {survived} survived")
    return 1 if survived else 0


def _hunt(place: int) -> tuple[int, Caught]:
    """By its place: what replaces a guard does not travel between processes."""
    caught = hunt(MUTANTS[place], HUNT_SEEDS)
    return place, Caught(caught.mutant._replace(replaces=()), caught.result)


def _day(seed: int) -> int:
    result = day.run(seed, _say)
    _say(
        f"a day in {result.took_s:.0f} s: {result.seen['accepted']:,} messages accepted, "
        f"{result.seen['submit_sm']:,} submit_sm, {result.happened:,} events, "
        f"{result.crashes} crashes"
    )
    if result.invariant:
        for line in result.journal:
            _say(f"    {line}")
        _say(f"{result.what}: python -m tests.sim --day --start {seed}")
    return 1 if result.invariant else 0


if __name__ == "__main__":
    sys.exit(main())
