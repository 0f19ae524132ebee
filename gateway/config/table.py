"""Table: reads one TOML table into one struct, and gathers everything that is wrong with it.

msgspec's own conversion stops at the first fault and cannot name a table of an array, so values are
converted here, by the type and the `Meta` of the struct's field. It never raises on any input: what
is faulty becomes a finding with its key path and what to write instead, and its default takes its
place, so that checks across tables still run and everything is reported at once.

Not here: where secrets come from (`load`) and what tables say about each other (`check`). A missing
`Secret` is therefore no fault here. A value of a `Secret` is never shown.
"""

import difflib
import functools
import ipaddress
import json
import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from gateway.config import address
from gateway.config.address import Address
from gateway.config.secret import Secret

T = TypeVar("T", bound=msgspec.Struct)

LABELS: Final = ("name", "id", "number")
"""If the first key of a table is one of these, its value names the table in paths."""

SHOWN_CHARACTERS_MAX: Final = 40

WHOLE_TEXT: Final = {"lines": True}
"""`Meta.extra` of texts that may have several lines; other text has no control characters."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_WITHOUT_LINES: Final = dict.fromkeys(map(ord, "\t\r\n"))

_NETWORK: Final = ipaddress.IPv4Network | ipaddress.IPv6Network
_BAD: Final = object()


class Finding(msgspec.Struct, frozen=True):
    """One fault or warning: where, what, and what to write instead."""

    path: str
    problem: str
    instead: str = ""

    def __str__(self) -> str:
        """One line for people."""
        line = f"{self.path}: {self.problem}" if self.path else self.problem
        return f"{line}; {self.instead}" if self.instead else line


class _Field(NamedTuple):
    """A key of a table: its type without wrapping, its range, and a line that would be right."""

    key: str
    attribute: str
    kind: Any
    meta: msgspec.Meta
    default: Any
    example: str


class Reader:
    """Reads the tables of one file."""

    def __init__(self, base: PurePath, shorthand: Mapping[type[Any], str]) -> None:
        self.faults: list[Finding] = []
        self._base = base
        self._shorthand = shorthand

    def fault(self, path: str, problem: str, instead: str = "") -> None:
        """Notes one fault."""
        self.faults.append(Finding(path, problem, instead))

    def table(self, shape: type[T], raw: Mapping[str, Any], path: str) -> T:
        """The table as its struct; its faulty and missing values are noted and defaulted."""
        fields = _fields(shape)
        values: dict[str, Any] = {}
        for field in fields.values():
            at = f"{path}.{field.key}" if path else field.key
            if field.key not in raw:
                if field.default is msgspec.NODEFAULT:
                    if field.kind is not Secret:
                        self.fault(at, "is missing", f"write {field.example}")
                    values[field.attribute] = _placeholder(field.kind)
                continue
            value = self._value(field, raw[field.key], at)
            if value is not _BAD:
                values[field.attribute] = value
            elif field.default is msgspec.NODEFAULT:
                values[field.attribute] = _placeholder(field.kind)
        for key in raw:
            if key not in fields:
                at = f"{path}.{_quoted_if_odd(key)}" if path else _quoted_if_odd(key)
                self.fault(at, "is not a key of this table", did_you_mean(key, list(fields)))
        return shape(**values)

    def tables(self, shape: type[T], raw: object, path: str) -> tuple[T, ...] | Any:
        """An array of tables; each may be a string if its struct has a shorthand."""
        if not isinstance(raw, list):
            what = f"write [[{path}]]" if "." not in path else "write a list"
            self.fault(path, f"must be a list of tables, is {show(raw)}", what)
            return _BAD
        shorthand = self._shorthand.get(shape)
        found = []
        for at, item in zip(labels(shape, raw, path), raw, strict=True):
            if isinstance(item, str) and shorthand is not None:
                found.append(self.table(shape, {shorthand: item}, at))
            elif isinstance(item, dict):
                found.append(self.table(shape, item, at))
            else:
                self.fault(at, f"must be a table, is {show(item)}")
        return tuple(found)

    def _value(self, field: _Field, raw: object, at: str) -> Any:
        kind = field.kind
        if get_origin(kind) is tuple:
            return self._list(field, raw, at)
        if get_origin(kind) is dict:
            return self._dict(field, raw, at)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if isinstance(raw, dict):
                return self.table(kind, raw, at)
            self.fault(at, f"must be a table, is {show(raw)}", f"write [{at}]")
            return _BAD
        return self._one(field, raw, at)

    def _list(self, field: _Field, raw: object, at: str) -> Any:
        item = _unwrapped(field, get_args(field.kind)[0])
        if isinstance(item.kind, type) and issubclass(item.kind, msgspec.Struct):
            return self.tables(item.kind, raw, at)
        if not isinstance(raw, list):
            self.fault(at, f"must be a list, is {show(raw)}", f"write {field.key} = [...]")
            return _BAD
        found = [self._one(item, value, f"{at}[{place}]") for place, value in enumerate(raw)]
        return tuple(value for value in found if value is not _BAD)

    def _dict(self, field: _Field, raw: object, at: str) -> Any:
        if not isinstance(raw, dict):
            self.fault(at, f"must be a table, is {show(raw)}", f"write {field.example}")
            return _BAD
        item = _unwrapped(field, get_args(field.kind)[1])
        found = {
            key: self._one(item, value, f"{at}.{_quoted_if_odd(key)}") for key, value in raw.items()
        }
        return {key: value for key, value in found.items() if value is not _BAD}

    def _one(self, field: _Field, raw: object, at: str) -> Any:
        try:
            return _scalar(field, raw, self._base)
        except _WrongError as wrong:
            self.fault(at, wrong.problem, wrong.instead)
            return _BAD


class _WrongError(Exception):
    """A value that does not fit; never leaves this module."""

    def __init__(self, problem: str, instead: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.instead = instead


def labels(shape: type[msgspec.Struct], raw: list[Any], path: str) -> list[str]:
    """The path of each table of an array: `client "shop"` if its name is its own, `client[0]`."""
    label = next(iter(_fields(shape)))
    names = [item.get(label) if isinstance(item, dict) else None for item in raw]
    texts = [name if label in LABELS and isinstance(name, str) else None for name in names]
    seen: dict[str | None, int] = {}
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
    return [
        f"{path} {show(text)}" if text and seen[text] == 1 else f"{path}[{place}]"
        for place, text in enumerate(texts)
    ]


def _scalar(field: _Field, raw: object, base: PurePath) -> Any:
    kind = field.kind
    if kind is bool:
        return _boolean(field, raw)
    if kind is int or kind is float:
        return _number(field, raw)
    if get_origin(kind) is Literal:
        return _choice(field, raw)
    text = _text(field, raw)
    if kind is Secret:
        return Secret(text.encode())
    if kind is Address or kind == _NETWORK:
        return _network_or_address(field, text)
    if kind is PurePath:
        if not text:
            raise _WrongError("is an empty path", f"write {field.example}")
        return base / text
    if kind is bytes:
        return text.removeprefix("+").encode()
    assert kind is str, kind
    return text


def _boolean(field: _Field, raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    raise _WrongError(f"must be true or false, is {show(raw)}", f"write {field.example}")


def _number(field: _Field, raw: object) -> int | float:
    meta, whole = field.meta, field.kind is int
    if isinstance(raw, bool) or not isinstance(raw, int if whole else int | float):
        what = "a whole number" if whole else "a number"
        raise _WrongError(f"must be {what}, is {show(raw)}", f"write {field.example}")
    assert isinstance(raw, int | float)
    low = meta.gt if meta.ge is None else meta.ge
    # `not in range` rather than `outside of it`: so that nan is caught too.
    if not (
        (meta.ge is None or raw >= meta.ge)
        and (meta.gt is None or raw > meta.gt)
        and raw <= (math.inf if meta.le is None else meta.le)
        and raw != math.inf
    ):
        least = "more than" if meta.gt is not None else "at least"
        bounds = [] if low is None else [f"{least} {low:,}"]
        bounds += [] if meta.le is None else [f"at most {meta.le:,}"]
        wanted = " and ".join(bounds) or "a finite number"
        raise _WrongError(f"must be {wanted}, is {show(raw)}", f"write {field.example}")
    if whole and meta.multiple_of and raw % meta.multiple_of:
        step = int(meta.multiple_of)
        nearest = max(int(raw) // step, 1) * step
        raise _WrongError(f"must be a multiple of {step}", f"write {field.key} = {nearest}")
    return int(raw) if whole else float(raw)


def _choice(field: _Field, raw: object) -> object:
    choices = get_args(field.kind)
    if isinstance(raw, str) and raw in choices:
        return raw
    wanted = ", ".join(show(choice) for choice in choices)
    instead = did_you_mean(raw, list(choices)) if isinstance(raw, str) else ""
    raise _WrongError(f"must be one of {wanted}; is {show(raw)}", instead)


def _text(field: _Field, raw: object) -> str:
    meta, hidden = field.meta, field.kind is Secret
    shown = _kind_of(raw) if hidden else show(raw)
    if not isinstance(raw, str):
        raise _WrongError(f"must be text in quotes, is {shown}", f"write {field.example}")
    if _CONTROL.search(raw.translate(_WITHOUT_LINES) if meta.extra == WHOLE_TEXT else raw):
        raise _WrongError("holds a control character", "leave it out")
    size = len(raw.encode())
    if size < (meta.min_length or 0):
        raise _WrongError("is empty", f"write {field.example}")
    if meta.max_length is not None and size > meta.max_length:
        raise _WrongError(f"is {size} octets long, at most {meta.max_length} are allowed", "")
    if meta.pattern is not None and not re.fullmatch(meta.pattern, raw):
        what = meta.description or f"of the form {meta.pattern}"
        raise _WrongError(f"must be {what}, is {shown}", f"write {field.example}")
    return raw


def _network_or_address(field: _Field, text: str) -> object:
    if field.kind is Address:
        try:
            return address.parse(text)
        except ValueError as error:
            raise _WrongError(f"{show(text)} {error}", f"write {field.example}") from None
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        whole = ipaddress.ip_network(text, strict=False)
    except ValueError:
        instead = 'write a network such as "192.0.2.0/24" or an address'
        raise _WrongError(f"{show(text)} is not a network", instead) from None
    raise _WrongError(f"{show(text)} has host bits set", f'write "{whole}"')


@functools.cache
def _fields(shape: type[msgspec.Struct]) -> dict[str, _Field]:
    """The keys of a table in order, each with what a value of it must be."""
    found: dict[str, _Field] = {}
    for info in msgspec.structs.fields(shape):
        bare = _Field(info.encode_name, info.name, info.type, msgspec.Meta(), info.default, "")
        if info.default_factory is not msgspec.NODEFAULT:
            bare = bare._replace(default=info.default_factory())
        field = _unwrapped(bare, info.type)
        found[field.key] = field._replace(example=_example(field))
    return found


def _unwrapped(field: _Field, kind: Any) -> _Field:
    """`field` with the type itself: without `Annotated`, whose Meta it keeps, and `| None`."""
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            kind, meta = get_args(kind)[:2]
            field = field._replace(meta=meta)
        elif origin in (UnionType, Union) and NoneType in get_args(kind):
            kind = next(part for part in get_args(kind) if part is not NoneType)
        else:
            return field._replace(kind=kind)


def _example(field: _Field) -> str:
    """A line that would be right: the default if there is one that says something."""
    if field.meta.examples:
        return f"{field.key} = {_toml(field.meta.examples[0])}"
    default = field.default
    if default is not msgspec.NODEFAULT and default not in (None, "", b"", (), {}):
        return f"{field.key} = {_toml(default)}"
    if get_origin(field.kind) is tuple:
        return f"{field.key} = [...]"
    if field.kind is int or field.kind is float:
        return f"{field.key} = {1 if field.meta.ge is None else field.meta.ge:g}"
    return f'{field.key} = "{"192.0.2.1:2775" if field.kind is Address else "..."}"'


def _placeholder(kind: Any) -> Any:
    """Stands for a required value that is missing or faulty; says nothing to any check."""
    if get_origin(kind) is tuple:
        return ()
    if get_origin(kind) is dict:
        return {}
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    stands: dict[Any, Any] = {
        str: "",
        bytes: b"",
        int: 0,
        float: 0.0,
        Secret: Secret(b""),
        Address: Address("", 0),
    }
    return stands[kind]


def _toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple) and not isinstance(value, Address):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value.decode() if isinstance(value, bytes) else str(value))


def show(raw: object) -> str:
    """What stands in the file, cut short."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int):
        return str(raw) if raw.bit_length() <= 64 else "a number of more than 64 bits"
    if isinstance(raw, str):
        cut = raw if len(raw) <= SHOWN_CHARACTERS_MAX else f"{raw[:SHOWN_CHARACTERS_MAX]}..."
        return json.dumps(cut, ensure_ascii=False)
    if isinstance(raw, float):
        return str(raw)
    return _kind_of(raw)


def _kind_of(raw: object) -> str:
    """What sort of TOML value it is."""
    if isinstance(raw, str):
        return "text"
    if isinstance(raw, int | float):
        return "a truth value" if isinstance(raw, bool) else "a number"
    if isinstance(raw, list):
        return "a list"
    return "a table" if isinstance(raw, dict) else "a date or time"


def _quoted_if_odd(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", key) else show(key)


def did_you_mean(word: str, known: list[str]) -> str:
    """The known word that is nearest, or all of them."""
    close = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(known)}"
