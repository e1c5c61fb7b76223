"""What others wrote and we ship stays as they published it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import es_saga.web.dashboard

SHIPPED = Path(es_saga.web.dashboard.__file__).parent / "static" / "vendor"
TESTED_WITH = Path(__file__).parent / "vendor"


def manifest(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text())
    return found


@pytest.mark.parametrize("folder", [SHIPPED, TESTED_WITH], ids=["shipped", "for tests"])
def test_a_vendored_file_is_what_its_manifest_says(folder: Path) -> None:
    for entry in manifest(folder):
        digest = hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest()
        assert digest == entry["sha256"], f"{entry['file']} is not {entry['package']} as published"
        assert entry["version"]


@pytest.mark.parametrize("folder", [SHIPPED, TESTED_WITH], ids=["shipped", "for tests"])
def test_every_vendored_file_is_in_the_manifest_with_its_licence(folder: Path) -> None:
    entries = manifest(folder)
    code = {entry["file"] for entry in entries}
    licences = {entry["licence_file"] for entry in entries}
    there = {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert {name for name in there if "LICENSE" not in name} == code
    assert licences <= there
    assert all(entry["licence"] for entry in entries)


def test_a_bundle_names_the_version_of_its_manifest() -> None:
    """Where a file tells its own version, as these do, nobody has to take our word for it."""
    version = {entry["package"]: entry["version"] for entry in manifest(SHIPPED)}
    assert f'"{version["htmx.org"]}"' in (SHIPPED / "htmx.min.js").read_text()
