"""Log: one line an event on stderr: JSON for machines, or readable when it is a terminal.

    {"time": "2026-11-24T10:34:10.123Z", "level": "info", "logger": "gateway.daemon.app",
     "message": "ready", "listening": ["127.0.0.1:2775"], "start": 4}

What a caller passes as `extra` becomes fields of its own. Secrets have no text form
(`config.secret`), and nobody logs a message's text or, above debug, a whole telephone number.

A line is written where it is logged, so nothing is logged a message. A stderr that is gone costs
the line, never the daemon.
"""

import datetime
import json
import logging
import sys
import traceback
from typing import Any, Final, TextIO

JSON_FIELDS: Final = ("time", "level", "logger", "message", "traceback")
"""Ours; an extra of one of these names is written with an underscore behind it."""

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest came as `extra`."""


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Sends all logging of this process to stderr, from this level on."""
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ReadableFormatter() if stream.isatty() else JsonFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in extras(record).items():
            fields[f"{name}_" if name in JSON_FIELDS else name] = value
        if record.exc_info:
            fields["traceback"] = _traceback(record)
        return json.dumps(fields, default=str, ensure_ascii=False)


class ReadableFormatter(logging.Formatter):
    """`10:34:10.123 warning  carrier a is not bound  wait_s=1.5`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the lines of a traceback."""
        clock = _time(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f"  {name}={value}" for name, value in extras(record).items())
        line = f"{clock} {record.levelname.lower():8} {record.getMessage()}{fields}"
        return f"{line}\n{_traceback(record)}" if record.exc_info else line


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def _time(record: logging.LogRecord) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(record.created, datetime.UTC)


def _traceback(record: logging.LogRecord) -> str:
    assert record.exc_info is not None
    return "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
