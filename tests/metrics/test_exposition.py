"""What a page says, Prometheus' own parser reads."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import exposition
from gateway.metrics.exposition import Page, number
from gateway.metrics.names import METRICS


def samples(page: Page) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.text())
        for sample in family.samples
    }


def test_a_sample_is_read_as_it_was_added() -> None:
    page = Page()
    page.add("starts", 3)
    page.add("client_refused_total", 17, "shop", "unknown_sender")
    page.add("commit_seconds_total", 0.125)

    assert samples(page) == {
        ("smppgate_starts", ()): 3,
        ("smppgate_client_refused_total", (("client", "shop"), ("outcome", "unknown_sender"))): 17,
        ("smppgate_commit_seconds_total", ()): 0.125,
        ("smppgate_series_left_out", ()): 0,
    }


def test_each_family_has_its_kind_and_help_once_whatever_the_order_of_samples() -> None:
    page = Page()
    page.add("client_binds", 1, "a")
    page.add("client_queued", 2, "a")
    page.add("client_binds", 3, "b")

    families = {family.name: family for family in text_string_to_metric_families(page.text())}

    assert [sample.value for sample in families["smppgate_client_binds"].samples] == [1, 3]
    assert families["smppgate_client_binds"].type == "gauge"
    assert families["smppgate_client_binds"].documentation == "Sessions that are bound."
    assert page.text().count("# TYPE smppgate_client_binds ") == 1


@given(st.text())
def test_any_label_comes_back_as_it_was(label: str) -> None:
    if "\r" in label or any(not char.isprintable() for char in label if char != "\n"):
        return  # the parser splits lines at what only it takes for their end; names have none
    page = Page()
    page.add("client_binds", 1, label)

    assert ("smppgate_client_binds", (("client", label),)) in samples(page)


@given(st.integers() | st.floats(allow_nan=False))
def test_any_number_comes_back_as_it_was(value: float) -> None:
    assert float(number(value)) == float(value) or abs(value) > 2**53


def test_infinities_are_written_as_prometheus_reads_them() -> None:
    assert (number(math.inf), number(-math.inf), number(True)) == ("+Inf", "-Inf", "1")


def test_a_name_that_is_not_in_the_table_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        Page().add("nonsense", 1)


@pytest.mark.parametrize("labels", [(), ("a", "b")])
def test_other_labels_than_the_table_has_are_a_mistake_of_ours(labels: tuple[str, ...]) -> None:
    with pytest.raises(TypeError):
        Page().add("client_binds", 1, *labels)


def test_a_family_keeps_to_its_budget_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exposition, "SERIES_MAX", 3)
    page = Page()
    for place in range(5):
        page.add("client_binds", place, f"client-{place}")
    page.add("starts", 1)

    found = samples(page)

    assert len([1 for name, _ in found if name == "smppgate_client_binds"]) == 3
    assert found["smppgate_series_left_out", ()] == 2
    assert found["smppgate_starts", ()] == 1


def test_a_page_without_samples_is_valid() -> None:
    assert list(samples(Page())) == [("smppgate_series_left_out", ())]
    assert "smppgate_series_left_out" in METRICS
