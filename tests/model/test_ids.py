"""Message ids: unique, growing, and no text that anybody could take for a number."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import ids

ID_MAX = (1 << 63) - 1

every_id = st.integers(0, ID_MAX)


@given(every_id)
def test_an_id_survives_its_text_and_its_key(message_id: int) -> None:
    text = ids.to_text(message_id)
    key = ids.to_key(message_id)

    assert message_id == ids.from_text(text.decode())
    assert message_id == ids.from_key(key)
    assert (ids.TEXT_LENGTH, ids.KEY_LENGTH) == (len(text), len(key))


@given(every_id)
def test_a_text_is_13_lower_case_characters_and_never_a_number(message_id: int) -> None:
    text = ids.to_text(message_id).decode()

    assert re.fullmatch("[ghjkmnpq][0-9a-hjkmnp-tv-z]{12}", text)
    for base in (10, 16):
        with pytest.raises(ValueError, match="invalid literal"):
            int(text, base)


@given(every_id, every_id)
def test_keys_and_texts_are_in_the_order_of_arrival(one: int, other: int) -> None:
    assert (one < other) == (ids.to_key(one) < ids.to_key(other))
    assert (one < other) == (ids.to_text(one) < ids.to_text(other))


@pytest.mark.parametrize("message_id", [0, 1, 31, 32, (1 << 60) - 1, 1 << 60, ID_MAX])
def test_the_ends_of_the_range_have_texts_of_their_own(message_id: int) -> None:
    assert message_id == ids.from_text(ids.to_text(message_id).decode())


@given(every_id)
def test_either_case_names_the_same_message(message_id: int) -> None:
    text = ids.to_text(message_id).decode()

    assert message_id == ids.from_text(text.upper()) == ids.from_text(text.title())


@given(st.text(max_size=20))
def test_a_text_names_an_id_or_nothing(text: str) -> None:
    found = ids.from_text(text)

    assert found is None or ids.to_text(found).decode() == text.lower()


@pytest.mark.parametrize(
    "junk",
    [
        "",
        "g",
        "g00000000000",  # 12 characters
        "g0000000000000",  # 14
        "0000000000000",  # without the mark
        "f000000000000",
        "r000000000000",  # bit 63
        "zzzzzzzzzzzzz",
        "g00000000000i",  # not of the alphabet
        "g00000000000l",
        "g00000000000o",
        "g00000000000u",
        "g00000000000 ",
        " g00000000000",
        "g-00000000000",
        "g00000000000é",
        "g00000000000\u212a",  # the Kelvin sign, whose lower case is k
        "\uff11" * 13,  # digits, but not of ASCII
        "1234567890123",
    ],
)
def test_junk_names_nothing(junk: str) -> None:
    assert ids.from_text(junk) is None


def test_one_start_counts_up_and_the_next_one_stands_above_it() -> None:
    first, second = ids.IdSource(1), ids.IdSource(2)
    taken = [first.take() for _ in range(3)]

    assert [taken[0], taken[0] + 1, taken[0] + 2] == taken
    assert second.take() == 2 << ids.COUNTER_BITS
    assert taken[0] == 1 << ids.COUNTER_BITS


def test_a_counter_that_is_used_up_is_a_fault_and_not_the_next_starts_id() -> None:
    source = ids.IdSource(7)
    source._next = (8 << ids.COUNTER_BITS) - 1

    assert (8 << ids.COUNTER_BITS) - 1 == source.take()
    with pytest.raises(OverflowError, match="restart"):
        source.take()


def test_the_last_start_still_fits_into_63_bits() -> None:
    last = ids.IdSource(ids.STARTS_MAX)
    last._next = ID_MAX

    assert ID_MAX == last.take()


@pytest.mark.parametrize("starts", [-1, ids.STARTS_MAX + 1])
def test_a_number_of_starts_that_does_not_fit_is_refused(starts: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        ids.IdSource(starts)
