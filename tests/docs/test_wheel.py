"""The wheel builds, holds what it must, and what it installs runs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*words: str, cwd: Path, path: Path | None = None) -> str:
    """Runs Python with these words; what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(path) if path is not None else ""}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_gateway_the_bench_and_the_command_and_runs_where_it_is_installed(
    tmp_path: Path,
) -> None:
    run("-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(ROOT), cwd=ROOT)
    (wheel,) = tmp_path.glob("smppgate-*.whl")
    site = tmp_path / "site"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel), cwd=ROOT)

    said = run("-m", "gateway", "version", cwd=tmp_path, path=site)
    where = run("-c", "import gateway; print(gateway.__file__)", cwd=tmp_path, path=site)

    assert said.startswith("smppgate ")
    assert where.startswith(str(site))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        scripts = archive.read(entry_points).decode()

    assert {"gateway/__main__.py", "gateway/py.typed", "bench/registry.toml"} <= names
    assert "smppgate = gateway.__main__:main" in scripts
    assert not [name for name in names if name.startswith("tests/")]
