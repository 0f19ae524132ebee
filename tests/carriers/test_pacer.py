"""Pacer: fifty binds of a carrier that is down are as quiet as one; in virtual time."""

import trio
import trio.testing

from gateway.carriers.pacer import Pacer

BINDS = 50


async def note_turn(pacer: Pacer, turns: list[float], woken: trio.Event) -> None:
    await pacer.turn(woken)
    turns.append(trio.current_time())


async def test_binds_of_a_carrier_that_is_down_try_one_at_a_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    pacer, turns = Pacer(1.0), list[float]()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(BINDS):
            nursery.start_soon(note_turn, pacer, turns, trio.Event())

    assert [began + place for place in range(BINDS)] == turns


async def test_when_one_comes_up_the_others_follow_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    pacer, turns = Pacer(1.0), list[float]()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(BINDS):
            nursery.start_soon(note_turn, pacer, turns, trio.Event())
        await trio.sleep(2.5)
        pacer.came_up()

    assert [0.0, 1.0, 2.0] + [2.5] * (BINDS - 3) == [at - began for at in turns]


async def test_while_one_is_up_nobody_is_held_up_and_after_it_they_are_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    pacer, turns = Pacer(1.0), list[float]()
    pacer.came_up()
    began = trio.current_time()
    for _ in range(3):
        await note_turn(pacer, turns, trio.Event())
    pacer.went_down()
    for _ in range(3):
        await note_turn(pacer, turns, trio.Event())

    assert [0.0, 0.0, 0.0, 0.0, 1.0, 2.0] == [at - began for at in turns]


async def test_a_bind_that_waits_after_a_loss_is_woken_when_another_comes_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    pacer = Pacer(1.0)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pacer.pause, 60.0, trio.Event())
        await trio.sleep(7.0)
        pacer.came_up()

    assert 7.0 == trio.current_time() - began


async def test_an_operator_waits_for_no_turn(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    pacer, woken = Pacer(1.0), trio.Event()
    woken.set()
    began = trio.current_time()
    for _ in range(3):
        await pacer.turn(woken)

    assert 0.0 == trio.current_time() - began
