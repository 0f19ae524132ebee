"""The window: sequence numbers, order, and taking back what never left."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp import consts
from gateway.smpp.codec import HEADER
from gateway.smpp.window import Window

LAST = consts.SEQUENCE_NUMBER_MAX


def sent(window: Window, *refs: object, at: float = 0.0) -> list[int]:
    """The sequence numbers of requests with these refs."""
    pdus = window.send(consts.SUBMIT_SM, [(b"body", ref) for ref in refs], at)
    assert all((20, consts.SUBMIT_SM, 0) == HEADER.unpack_from(pdu)[:3] for pdu in pdus)
    return [HEADER.unpack_from(pdu)[3] for pdu in pdus]


def near_the_end() -> Window:
    window = Window(10)
    window._next = LAST - 1
    return window


def test_sequence_numbers_begin_at_one_and_are_shared_with_our_own_requests() -> None:
    window = Window(10)

    assert [1, 2] == sent(window, "a", "b")
    assert HEADER.unpack_from(window.send_own(consts.ENQUIRE_LINK)) == (
        16,
        consts.ENQUIRE_LINK,
        0,
        3,
    )
    assert [4] == sent(window, "c")


def test_after_the_last_sequence_number_comes_one() -> None:
    assert [LAST - 1, LAST, 1, 2] == sent(near_the_end(), "a", "b", "c", "d")

    window = near_the_end()
    sent(window, "a")
    assert [LAST, 1] == [HEADER.unpack_from(window.send_own(consts.UNBIND))[3] for _ in range(2)]


def test_numbers_still_in_use_are_passed_over() -> None:
    window = near_the_end()
    window.own[LAST] = consts.ENQUIRE_LINK
    window.waiting[1] = ("old", consts.SUBMIT_SM_RESP, 0.0, 0)

    assert [LAST - 1, 2] == sent(window, "a", "b")

    window._next = LAST - 1
    assert HEADER.unpack_from(window.send_own(consts.UNBIND))[3] == 3
    window._next = 2
    assert [4] == sent(window, "c")


def test_own_requests_take_no_room_and_can_be_given_up_by_kind() -> None:
    window = Window(10)
    window.send_own(consts.ENQUIRE_LINK)
    window.send_own(consts.UNBIND)

    window.drop_own(consts.ENQUIRE_LINK)

    assert not window.waiting
    assert [consts.UNBIND] == list(window.own.values())


def test_the_oldest_is_the_first_that_nobody_answered() -> None:
    window = Window(10)
    assert window.oldest_at() is None

    sent(window, "a", at=1.0)
    sent(window, "b", at=2.0)
    assert window.oldest_at() == 1.0

    del window.waiting[1]
    assert window.oldest_at() == 2.0


def test_what_never_left_is_taken_back_in_order_and_its_numbers_are_used_again() -> None:
    window = near_the_end()
    sent(window, "a", "b", "c", "d")

    assert ["b", "c", "d"] == window.withdraw(3)
    assert [LAST, 1] == sent(window, "e", "f")
    assert ["a", "e", "f"] == window.abandon()


def test_a_guessed_answer_does_not_make_an_older_request_be_taken_back() -> None:
    window = Window(10)
    sent(window, "left", "a", "guessed", "c")
    del window.waiting[3]

    assert ["a", "c"] == window.withdraw(3)
    assert ["left"] == window.abandon()


def test_nothing_is_taken_back_twice() -> None:
    window = Window(10)
    sent(window, "left", "a")

    assert ["a"] == window.withdraw(1)
    assert [] == window.withdraw(0)
    assert ["left"] == window.withdraw(1)
    assert [1] == sent(window, "b")


def test_abandoning_gives_everything_back_in_order_once() -> None:
    window = Window(10)
    sent(window, "a", "b")
    window.send_own(consts.ENQUIRE_LINK)

    assert ["a", "b"] == window.abandon()
    assert [] == window.abandon()
    assert not window.own


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_every_ref_comes_back_exactly_once(rounds: list[tuple[int, int, int]]) -> None:
    """Each round sends some, takes some of them back, and has some of the oldest answered."""
    window = near_the_end()
    made = 0
    back: list[object] = []
    for count, withdrawn, answered in rounds:
        sequence_numbers = sent(window, *range(made, made + count))
        made += count
        assert len(sequence_numbers) == len(set(sequence_numbers))
        taken = window.withdraw(min(withdrawn, count))
        assert sorted(taken, key=repr) == sorted(range(made - len(taken), made), key=repr)
        back += taken
        for sequence_number in list(window.waiting)[:answered]:
            back.append(window.waiting.pop(sequence_number)[0])
    back += window.abandon()

    assert list(range(made)) == sorted(back, key=lambda ref: int(str(ref)))
