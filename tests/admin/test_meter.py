"""The meter compares what there is now with what there was a moment ago."""

from gateway.admin.meter import SPAN_S, Meter


def test_a_rate_is_what_was_added_since_the_oldest_sample() -> None:
    meter = Meter()
    meter.sample(100.0, {("accepted", "shop"): 1_000})
    meter.sample(102.0, {("accepted", "shop"): 5_000})

    assert meter.per_s("accepted", "shop", 1_400, 104.0) == 100.0


def test_there_is_no_rate_before_there_is_something_to_compare_with() -> None:
    meter = Meter()
    assert meter.per_s("accepted", "shop", 10, 100.0) is None

    meter.sample(100.0, {("accepted", "shop"): 10})
    assert meter.per_s("accepted", "shop", 10, 100.1) is None


def test_who_is_new_since_the_oldest_sample_began_at_zero() -> None:
    meter = Meter()
    meter.sample(100.0, {})

    assert meter.per_s("submitted", "carrier-b", 50, 110.0) == 5.0


def test_samples_older_than_the_span_are_forgotten() -> None:
    meter = Meter()
    for second in range(0, 60, 2):
        meter.sample(float(second), {("accepted", ""): second * 7})

    rate = meter.per_s("accepted", "", 60 * 7, 60.0)

    assert rate == 7.0
    assert meter._samples[0][0] == 60.0 - SPAN_S
