"""The log: JSON for machines, readable for people, and nothing else on stderr."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from gateway.config.secret import Secret
from gateway.daemon import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def logger(stream: io.StringIO, level: str = "info") -> logging.Logger:
    log.set_up(level, stream)
    return logging.getLogger("gateway.test")


def test_a_line_is_one_json_object_with_its_extras() -> None:
    stream = io.StringIO()
    logger(stream).info("ready, %d", 5, extra={"listening": ["127.0.0.1:2775"], "start": 4})

    assert stream.getvalue().count("\n") == 1
    line = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "gateway.test",
        "message": "ready, 5",
        "listening": ["127.0.0.1:2775"],
        "start": 4,
    }


def test_a_traceback_is_a_field_and_the_line_still_one() -> None:
    stream = io.StringIO()
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        logger(stream).exception("a fault")

    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["traceback"].endswith("ValueError: one\ntwo")


def test_an_extra_with_a_name_of_ours_does_not_replace_it() -> None:
    stream = io.StringIO()
    logger(stream).info("x", extra={"level": "not this one"})

    line = json.loads(stream.getvalue())
    assert (line["level"], line["level_"]) == ("info", "not this one")


def test_what_is_no_json_is_written_as_text_and_a_secret_shows_nothing() -> None:
    stream = io.StringIO()
    logger(stream).info("x", extra={"password": Secret(b"hunter2"), "octets": b"\xff"})

    assert "hunter2" not in stream.getvalue()
    assert json.loads(stream.getvalue())["octets"] == "b'\\xff'"


def test_on_a_terminal_lines_are_for_people() -> None:
    stream = Terminal()
    logger(stream).warning("carrier a: %s", "lost", extra={"wait_s": 1.5})
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("x").exception("a fault")

    first, second, *rest = stream.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} warning  carrier a: lost  wait_s=1\.5", first)
    assert second.endswith(" error    a fault")
    assert rest[-1] == "ValueError: why"


def test_only_what_is_important_enough_is_logged() -> None:
    stream = io.StringIO()
    logger(stream, "warning").info("not this")
    logger(stream, "warning").error("but this")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["but this"]


def test_a_stderr_that_is_gone_costs_the_line_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = io.StringIO()
    logging_ = logger(stream)
    stream.close()

    logging_.error("nobody hears this")

    assert "Logging error" in capsys.readouterr().err
