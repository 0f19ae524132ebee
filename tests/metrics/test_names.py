"""The table of metrics keeps to Prometheus' rules, and to ours."""

import re

from gateway.metrics.names import METRICS, PREFIX

PERSONAL = {"number", "source", "destination", "from", "to", "message", "id", "peer", "text"}


def test_every_name_has_the_prefix_and_the_characters_that_are_allowed() -> None:
    assert [name for name in METRICS if not re.fullmatch(PREFIX + r"[a-z][a-z0-9_]*", name)] == []
    assert all(name == metric.name for name, metric in METRICS.items())


def test_counters_and_only_counters_end_in_total() -> None:
    wrong = [
        name
        for name, metric in METRICS.items()
        if name.endswith("_total") != (metric.kind == "counter")
    ]

    assert wrong == []


def test_a_unit_stands_in_the_name() -> None:
    wrong = [
        name
        for name, metric in METRICS.items()
        if metric.unit and not name.removesuffix("_total").endswith(metric.unit)
    ]

    assert wrong == []


def test_every_metric_says_what_it_means_in_a_sentence() -> None:
    wrong = [name for name, m in METRICS.items() if not m.help.endswith(".") or "\n" in m.help]

    assert wrong == []


def test_no_label_can_hold_a_number_or_a_message() -> None:
    labels = {label for metric in METRICS.values() for label in metric.labels}

    assert labels & PERSONAL == set()
