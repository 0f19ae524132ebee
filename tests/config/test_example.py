"""conf/smppgate.toml names every key of the schema, each with its true default."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gateway.config.load import load
from gateway.config.schema import SHORTHAND, Config

EXAMPLE = (Path(__file__).parents[2] / "conf" / "smppgate.toml").read_text()
KEY = re.compile(r"#?(\w+) = (.*)")


def lines_by_table() -> dict[str, dict[str, str]]:
    """The keys of each table with their values as written, those in comments included."""
    tables: dict[str, dict[str, str]] = {"": {}}
    table = ""
    for line in EXAMPLE.splitlines():
        if header := re.match(r"#?\[+([\w.]+)\]+", line):
            table = header[1]
            assert table not in tables, f"[{table}] is there twice"
            tables[table] = {}
        elif key := KEY.fullmatch(line):
            assert key[1] not in tables[table], f"{table}.{key[1]} is there twice"
            tables[table][key[1]] = key[2]
    return tables


def tables_of_schema() -> dict[str, Any]:
    found: dict[str, Any] = {"": Config}
    for name, kind in tables_in(Config).items():
        found[name] = kind
        found.update({f"{name}.{inner}": within for inner, within in tables_in(kind).items()})
    return found


def tables_in(shape: Any) -> dict[str, Any]:
    """The keys of a table that are tables, or arrays of them whose tables have no short form."""
    found = {}
    for field in msgspec.structs.fields(shape):
        kinds = get_args(field.type) or (field.type,)
        kind = kinds[0]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in SHORTHAND:
            found[field.encode_name] = kind
    return found


def keys_of(shape: Any) -> list[str]:
    tables = tables_in(shape)
    return [
        field.encode_name
        for field in msgspec.structs.fields(shape)
        if field.encode_name not in tables
    ]


def test_the_example_has_the_tables_of_the_schema() -> None:
    assert list(tables_of_schema()) == list(lines_by_table())


@pytest.mark.parametrize("table", list(tables_of_schema()))
def test_the_example_names_the_keys_of_the_schema(table: str) -> None:
    assert sorted(keys_of(tables_of_schema()[table])) == sorted(lines_by_table()[table])


@pytest.mark.parametrize("table", list(tables_of_schema()))
def test_the_example_shows_the_true_defaults(table: str) -> None:
    written = lines_by_table()[table]
    for field in msgspec.structs.fields(tables_of_schema()[table]):
        default = field.default
        if field.encode_name not in written or f"#{field.encode_name} = " not in EXAMPLE:
            continue
        value = tomllib.loads(f"x = {written[field.encode_name]}")["x"]
        if default in (None, (), b"", "") or field.encode_name == "socket":
            continue  # there is none to show: an example stands there
        shown = [str(item) for item in default] if isinstance(default, tuple) else default
        assert value == (shown if isinstance(shown, int | float | list) else str(shown))


def test_the_example_loads_as_it_stands() -> None:
    loaded = load(EXAMPLE, base="/etc/smppgate", environment={}, read_file=lambda _: b"x")

    assert loaded.faults == ()
    assert loaded.warnings == ()


def test_every_line_of_the_example_is_right() -> None:
    # All keys at once, but for the two other places of a password.
    whole = re.sub(r"^#(?!password_)(\w+ = |\[)", r"\1", EXAMPLE, flags=re.MULTILINE)

    loaded = load(whole, base="/etc/smppgate", environment={}, read_file=lambda _: b"x")

    assert loaded.faults == ()
