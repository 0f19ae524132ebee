"""The simulator's settings: each is read the same from the command line and while it runs."""

import argparse

import pytest

from bench.settings import Settings, add_options, from_options


def parse(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return from_options(parser.parse_args(arguments))


def test_options_and_run_time_values_give_the_same_settings() -> None:
    by_option = parse("--answer-delay-ms=50", "--errors=0x58:0.5,20:0.25", "--never-answer")
    at_run_time = Settings().changed(
        {"answer_delay_ms": 50, "errors": {"0x58": 0.5, "20": 0.25}, "never_answer": True}.items()
    )

    assert by_option.as_json() == at_run_time.as_json()
    assert [by_option.errors.pick(draw) for draw in (0.0, 0.49, 0.5, 0.74, 0.75, 0.99)] == [
        0x58,
        0x58,
        20,
        20,
        None,
        None,
    ]


def test_a_state_may_have_an_error_code_of_its_own() -> None:
    mix = parse("--receipt-stat-mix=DELIVRD:0.5,UNDELIV/4770:0.5").receipt_stat_mix

    delivered, failed = mix.pick(0.1), mix.pick(0.9)

    assert delivered is not None
    assert failed is not None
    assert (delivered.name, delivered.err, delivered.message_state) == (b"DELIVRD", b"000", 2)
    assert (failed.name, failed.err, failed.message_state) == (b"UNDELIV", b"4770", 5)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("answer_delay_ms", "soon", "answer_delay_ms: 'soon' is not a number"),
        ("answer_delay_ms", -1, "write a number from 0 up"),
        ("answer_delay_ms", True, "is not a number"),
        ("lose_answers", 1.5, "a fraction is between 0 and 1"),
        ("throttle_per_second", 0.5, "is not a whole number"),
        ("deliver_window", 0, "write a whole number from 1 up"),
        ("never_answer", "yes", "write true or false"),
        ("errors", 5, "write NAME:FRACTION"),
        ("errors", "0x58:0.7,0x14:0.7", "the fractions add up to 1.4"),
        ("receipt_stat_mix", "DELIVRD:0.5", "the fractions add up to 0.5"),
        ("receipt_stat_mix", "LOST:1", "'LOST' is none of"),
        ("receipts", "sometimes", "is none of asked always never"),
        ("system_id", 5, "is not a text"),
        ("colour", "red", "no setting 'colour'; there are system_id "),
    ],
)
def test_a_value_that_makes_no_sense_is_explained(name: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", "\\(")):
        Settings().changed([("answer_delay_ms", 5), (name, value)])
