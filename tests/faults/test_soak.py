"""The soak's verdict: what grows is told, what is noise is not."""

from collections.abc import Callable

import pytest

from tests.faults.soak import MIB, Sample, judge

ROUNDS = 18


def samples(**changed: Callable[[int], float]) -> list[Sample]:
    """An hour of rounds in which nothing moves, but for what is given, by the round's number."""
    steady = Sample(at_s=0.0, fault="", memory_bytes=50 * MIB, file_bytes=300 * MIB, p99_ms=40.0)
    return [
        steady._replace(
            at_s=200.0 * number,
            fault="link" if number % 3 == 2 else "",
            **{name: value(number) for name, value in changed.items()},  # type: ignore[arg-type]
        )
        for number in range(ROUNDS)
    ]


def test_what_stays_as_it_is_is_well() -> None:
    assert [] == judge(samples())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"memory_bytes": lambda n: (50 + n) * MIB}, "memory grows by 18.00 MiB/h"),
        ({"file_bytes": lambda n: (300 + 20 * n) * MIB}, "the file still grows"),
        ({"p99_ms": lambda n: 40.0 + 3 * n}, "p99 went from"),
    ],
)
def test_what_grows_all_the_time_is_told(
    changed: dict[str, Callable[[int], float]], said: str
) -> None:
    (found,) = judge(samples(**changed))

    assert found.startswith(said)


@pytest.mark.parametrize(
    "changed",
    [
        {"memory_bytes": lambda n: (50 + n % 3) * MIB},
        {"memory_bytes": lambda n: min(30 + 4 * n, 54) * MIB},  # while it warms up
        {"file_bytes": lambda n: min(100 + 40 * n, 340) * MIB},
        {"p99_ms": lambda n: 400.0 if n in (13, 15, 17) else 40.0},  # somebody else's load
        {"p99_ms": lambda n: 500.0 if n % 3 == 2 else 40.0},  # beside a fault
    ],
)
def test_what_moves_for_other_reasons_is_not(
    changed: dict[str, Callable[[int], float]],
) -> None:
    assert [] == judge(samples(**changed))
