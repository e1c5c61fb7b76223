"""The pytest plugin tells what was checked, with and without pytest-xdist, and is silent else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = """
from es_saga.testing import check_saga
from tests.testing.swapped import right, swapped

def test_right():
    check_saga(right, examples=5)

def test_swapped():
    check_saga(swapped, examples=5)
"""

REPOSITORY = Path(__file__).parents[2]


def run(folder: Path, text: str, *arguments: str) -> str:
    """What pytest says of a file with these tests."""
    file = folder / "test_it.py"
    file.write_text(text)
    rootdir, plain = f"--rootdir={folder}", ("-p", "no:cacheprovider", "-c", "/dev/null")
    alone = ("-p", "no:schemathesis")  # its plugin imports hypothesis, which takes its time
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(file), rootdir, *plain, *alone, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.stdout


@pytest.mark.parametrize("workers", ["0", "1"])
def test_it_tells_what_each_check_has_seen(tmp_path: Path, workers: str) -> None:
    told = run(tmp_path, CHECKS, "-n", workers)

    assert "1 failed, 1 passed" in told
    assert "law L01 is broken" in told
    head, line = told[told.index("sagas checked") :].splitlines()[1:3]
    assert head.split() == ["saga", "schedules", "faults", "states", "laws", "fates", "reached"]
    assert line.split()[:2] == ["right", "5"]
    assert "completed" in line


def test_it_is_silent_where_no_saga_is_checked(tmp_path: Path) -> None:
    code = "import sys\ndef test(): assert 'hypothesis' not in sys.modules\n"
    told = run(tmp_path, code, "-n0")

    assert "1 passed" in told
    assert "sagas checked" not in told
