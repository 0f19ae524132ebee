"""The ledger as a file: what is written is read, and what a killed writer leaves is understood."""

from pathlib import Path

import pytest

from bench.ledger import (
    Entry,
    LedgerWriter,
    Tally,
    minute_max_by_source,
    quote_address,
    read_acked,
    read_ledger,
    second_max_by_source,
    window_max_by,
)
from bench.windows import SECOND_NS

LINE = b"5 1 7 12025550100 13105550042 00000000 abc 000000000001 1 - 1\n"


def entry(time_s: float, source: str = "A", token: str = "", status: int = 0) -> Entry:
    return Entry(int(time_s * SECOND_NS), 1, 1, source, "1", status, "id", token, 0, b"", "1")


def test_a_line_reads_field_by_field(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path / "ledger")
    writer.lines.append(b"5 1 7 -  00000058 - - 0 001e00026100 0\n".replace(b"-  ", b"A%20B - "))
    writer.close()

    assert list(read_ledger(tmp_path / "ledger")) == [
        Entry(5, 1, 7, "A B", "", 0x58, "", "", 0, bytes.fromhex("001e00026100"), "0")
    ]


def test_a_half_line_of_a_killed_writer_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(LINE + LINE[:20])

    assert len(list(read_ledger(path))) == 1


def test_a_line_that_is_none_raises(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"5 1 7\n")

    with pytest.raises(ValueError, match="not a ledger line"):
        list(read_ledger(path))


def test_a_writer_goes_on_with_an_old_file(tmp_path: Path) -> None:
    for _ in range(2):
        writer = LedgerWriter(tmp_path / "ledger")
        writer.lines.append(LINE)
        writer.close()

    assert len(list(read_ledger(tmp_path / "ledger"))) == 2
    assert (tmp_path / "ledger").read_bytes().count(b"#") == 1


@pytest.mark.parametrize("address", [b"", b"-", b"A B", b"\n", b"\xff%", b"+1202", b"a-b"])
def test_no_address_breaks_a_line(address: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(LINE.replace(b"12025550100", quote_address(address)))

    assert next(read_ledger(path)).source_addr == address.decode("latin-1")


def test_duplicates_are_what_was_accepted_twice() -> None:
    tally = Tally(
        [
            entry(0, token="throttled", status=0x58),
            entry(1, token="throttled"),
            entry(0, token="twice"),
            entry(1, token="twice"),
            entry(0, token="refused", status=8),
            entry(0),
        ]
    )

    assert tally.received == {"throttled": 2, "twice": 2, "refused": 1}
    assert tally.duplicates() == {"twice": 2}
    assert tally.missing(["twice", "refused", "never"]) == ["refused", "never"]
    assert tally.unexpected(["twice"]) == ["throttled"]
    assert tally.by_status == {0: 4, 0x58: 1, 8: 1}
    assert tally.without_token == 1


def test_windows_are_counted_per_source_and_by_any_key() -> None:
    entries = [entry(0.0), entry(0.5), entry(0.9, "B"), entry(1.2), entry(1.3, status=0x58)]

    assert second_max_by_source(entries) == {"A": 3, "B": 1}
    assert minute_max_by_source(entries) == {"A": 4, "B": 1}
    assert window_max_by(entries, SECOND_NS, lambda _: "campaign") == {"campaign": 4}
    assert window_max_by(entries, SECOND_NS, accepted_only=True) == {"A": 2, "B": 1}


def test_acked_gives_the_id_of_each_token(tmp_path: Path) -> None:
    (tmp_path / "acked").write_bytes(b"000000000001 abc\n000000000002 def\n00000")

    assert read_acked(tmp_path / "acked") == {"000000000001": "abc", "000000000002": "def"}
