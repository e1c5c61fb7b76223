"""Types are tested both ways: what is right passes, and each marked line of the wrong is flagged.

A file `*_right.py` must be clean. In a file `*_wrong.py` each line with `# error`, and no other,
must be flagged. Both by mypy and by pyright, strict. New files are found by their names. What
`es-saga new` writes must be clean, too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHECK_SECONDS = 110

Flagged = dict[str, dict[int, str]]
"""File name to line to what the checker says there."""

RIGHT = sorted(HERE.glob("*_right.py"))
WRONG = sorted(HERE.glob("*_wrong.py"))
NEW = "bookshop"
"""The name of a new project; its files are flagged under their paths."""


def _run(*command: str, cwd: Path, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def _new_project(folder: Path) -> list[str]:
    """The Python files of a project that was just begun there."""
    _run("es_saga", "new", NEW, cwd=folder)
    return [str(path) for path in (folder / NEW).rglob("*.py")]


def _mypy(folder: Path) -> Flagged:
    said = _run(
        "mypy",  # with the settings of the project, and so with its cache
        "--no-error-summary",
        "--hide-error-context",
        *(str(path) for path in [*RIGHT, *WRONG]),
        *_new_project(folder),
        cwd=ROOT,
        MYPYPATH=str(folder / NEW),
    )
    flagged: Flagged = defaultdict(dict)
    for line in said.splitlines():
        match = re.match(r"(.+?):(\d+): error: (.*)", line)
        if match:
            flagged[_told(match[1])][int(match[2])] = match[3]
    return flagged


def _pyright(folder: Path) -> Flagged:
    files = [*(str(path) for path in [*RIGHT, *WRONG]), *_new_project(folder)]
    # A configuration of its own: the project's leaves the wrong files out.
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT), str(folder / NEW)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    said = _run("pyright", "--pythonpath", sys.executable, "--outputjson", *files, cwd=folder)
    report = json.loads(said)
    assert report["summary"]["filesAnalyzed"] == len(files)
    flagged: Flagged = defaultdict(dict)
    for found in report["generalDiagnostics"]:
        if found["severity"] == "error":
            line = found["range"]["start"]["line"] + 1
            flagged[_told(found["file"])][line] = found["message"]
    return flagged


def _told(file: str) -> str:
    """What a file is called here."""
    return f"{NEW}/{Path(file).name}" if NEW in Path(file).parts else Path(file).name


@pytest.fixture(scope="module", params=[_mypy, _pyright], ids=["mypy", "pyright"])
def flagged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Flagged:
    check: Callable[[Path], Flagged] = request.param
    return check(tmp_path_factory.mktemp("check"))


@pytest.mark.timeout(CHECK_SECONDS + 10)
@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_right_uses_are_accepted(flagged: Flagged, path: Path) -> None:
    assert flagged.get(path.name, {}) == {}


@pytest.mark.timeout(CHECK_SECONDS + 10)
@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_each_wrong_use_is_flagged_and_nothing_else(flagged: Flagged, path: Path) -> None:
    lines = path.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, start=1) if "# error" in line}
    found = flagged.get(path.name, {})
    assert marked, "a file of wrong uses marks at least one line"
    assert marked - set(found) == set(), "wrong, and not flagged"
    assert {line: said for line, said in found.items() if line not in marked} == {}


@pytest.mark.timeout(CHECK_SECONDS + 10)
@pytest.mark.requirement("R021")
def test_a_new_project_is_clean(flagged: Flagged) -> None:
    assert {path: lines for path, lines in flagged.items() if path.startswith(NEW)} == {}
