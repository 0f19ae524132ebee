"""Pages name tests, modules and targets that are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "GUARANTEES.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def named_tests(page: Path) -> Iterator[str]:
    """`tests/...` as it stands, and `test_x.py` in the folder of the one before it."""
    folder = ""
    for name in re.findall(r"`(tests/[\w/.]+|test_\w+\.py)`", page.read_text()):
        if name.startswith("tests/"):
            folder = name.rpartition("/")[0] if name.endswith(".py") else name
            yield name
        else:
            yield f"{folder}/{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert [] == [name for name in named_tests(page) if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make\s+([a-z]+)", page.read_text()))

    assert set() == named - targets
