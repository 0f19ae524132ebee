"""The wheel builds, and holds what it must."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_builds_and_holds_the_gateway_the_bench_and_the_command(tmp_path: Path) -> None:
    command = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("smppgate-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        scripts = archive.read(entry_points).decode()

    assert {"gateway/__main__.py", "gateway/py.typed", "bench/registry.toml"} <= names
    assert "smppgate = gateway.__main__:main" in scripts
    assert not [name for name in names if name.startswith("tests/")]
