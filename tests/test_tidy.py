"""Tidiness that can be executed: sizes, docstrings, purity, and what must not be in the project.

The import rules are import-linter's (`make check`); here stands what it cannot see: calls, sizes,
paths of somebody's machine, and the settings that keep the other tools strict.
"""

import ast
import hashlib
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ("gateway", "bench", "tests")
PURE = ("relay", "optout", "registry", "throttle", "smpp", "config", "metrics", "model")

MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

BANNED_IN_PURE = frozenset(
    {
        # the clock: `now` is an argument
        "time.time",
        "time.monotonic",
        "datetime.now",
        "datetime.today",
        "datetime.utcnow",
        "date.today",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.date.today",
        # files, the environment and the terminal: text goes in, values come out
        "open",
        "print",
        "input",
        "Path",
        "pathlib.Path",
        "os.getenv",
        "os.environ.get",
        "os.open",
        # randomness: ids, jitter and seeds are arguments
        "uuid.uuid4",
        "uuid.uuid1",
        "os.urandom",
    }
)
BANNED_MODULES_IN_PURE = ("random", "secrets", "time")

# Written in two halves, so that this file does not contain what it looks for.
FORBIDDEN_TEXT = tuple(
    left + right
    for left, right in (
        ("/wo", "rk/"),
        ("/tmp/ve", "nv"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("/opt/whe", "els"),
        ("py", "pi.org"),
        ("python", "hosted.org"),
    )
)

CONTRACT_SHA256 = {
    "gateway.toml": "288dccb0d656a3942299350d032613e0a092e531e177d6eb3eeca4906e768477",
    "registry.toml": "23b91abe2d6ce7ebd49d4946be6fab0d3546ec39ce43f737264dd73eacb30ae1",
}


def project_files() -> Iterator[Path]:
    """Every file of the project, without what tools and runs have made."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            name
            for name in folders
            if name == ".ci" or not name.startswith((".", "__pycache__", "var", "dist", "build"))
        )
        for name in sorted(names):
            if not name.endswith((".pyc", ".so", ".mdb", ".sock")) and ".coverage" not in name:
                yield Path(folder) / name


def modules(*tops: str) -> list[Path]:
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def pure_modules() -> list[Path]:
    return modules(*(f"gateway/{package}" for package in PURE))


@pytest.mark.parametrize("path", modules(*CODE), ids=name_of)
def test_a_module_opens_with_a_docstring_and_stays_small(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)

    assert ast.get_docstring(tree), f"{name_of(path)} does not say what it is"
    assert text.count("\n") <= MODULE_LINES_MAX, f"{name_of(path)} is more than one noun"
    too_long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert too_long == [], "functions that do not fit on a screen"


@pytest.mark.parametrize("path", pure_modules(), ids=name_of)
def test_a_pure_module_calls_no_clock_file_or_randomness(path: Path) -> None:
    calls = [
        (node.lineno, ast.unparse(node.func))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]

    assert [
        f"{name_of(path)}:{line} {name}"
        for line, name in calls
        if name in BANNED_IN_PURE or name.startswith(tuple(f"{m}." for m in BANNED_MODULES_IN_PURE))
    ] == []


def test_no_memory_channel_is_unbounded() -> None:
    unbounded = re.compile(r"open_memory_channel(\[[^]]*\])?\((math\.inf|inf|float\()")

    found = [name_of(path) for path in modules("gateway") if unbounded.search(path.read_text())]

    assert found == []


def test_import_linter_knows_every_pure_package() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    forbidden = next(c for c in contracts["contracts"] if c["type"] == "forbidden")

    assert {f"gateway.{package}.**" for package in PURE} == set(forbidden["source_modules"])


def test_a_pure_package_imports_nothing_foreign_in_its_init() -> None:
    # `x.**` in the contract names the modules of x, not its __init__.
    foreign = [
        f"{name_of(path)}:{node.lineno}"
        for package in PURE
        for path in (ROOT / "gateway" / package).glob("__init__.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        or (
            isinstance(node, ast.ImportFrom)
            and not (node.module or "").startswith(f"gateway.{package}.")
        )
    ]

    assert foreign == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{name_of(path)}: {text}"
        for path in project_files()
        for text in FORBIDDEN_TEXT
        if text.encode() in path.read_bytes()
    ]

    assert found == []


def test_every_requirement_is_pinned_and_hashed_and_names_no_index() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        named = [line for line in lines if line and not line.startswith(" ")]
        wrong = [
            line for line in named if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]* \\", line)
        ]

        assert named, name_of(path)
        assert wrong == [], name_of(path)
        assert all(
            lines[place + 1].startswith("    --hash=sha256:")
            for place, line in enumerate(lines)
            if line in named
        ), name_of(path)


def test_every_ignored_lint_rule_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.isort]")]
    rules = [line.strip() for line in section.splitlines() if re.match(r'^\s+"[A-Z0-9]+",', line)]
    inline = [line for line in section.splitlines() if re.match(r'^".*= \[.*\]', line)]

    assert rules
    assert [line for line in rules + inline if "# " not in line] == []


@pytest.mark.parametrize(("name", "sha256"), CONTRACT_SHA256.items())
def test_the_contract_files_are_as_they_were_agreed(name: str, sha256: str) -> None:
    # Every release accepts them as they stand; a release may add keys, in its own files.
    contract = ROOT / "tests" / "contract" / name

    assert sha256 == hashlib.sha256(contract.read_bytes()).hexdigest()
