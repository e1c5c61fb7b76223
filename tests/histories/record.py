"""Record what is not recorded yet: `python -m tests.histories.record`, from the project's folder.

A file that is there is never written again: it is what a release did, and later ones must be able
to read it. Who changes what a fate does gives it another name.
"""

from __future__ import annotations

from pathlib import Path

from es_saga.testing.history import write_history
from tests.histories.fates import RECORDINGS, play

FOLDER = Path(__file__).parent


def file_of(name: str, folder: Path = FOLDER) -> Path:
    """Where a recording stands."""
    return folder / f"{name}.jsonl"


def record(folder: Path = FOLDER) -> list[str]:
    """Write the recordings that are missing; their names."""
    missing = [name for name in RECORDINGS if not file_of(name, folder).exists()]
    for name in missing:
        scene = play(name)
        file = file_of(name, folder)
        file.parent.mkdir(exist_ok=True)
        write_history(file, scene.state.saga_id, scene.history)
    return missing


if __name__ == "__main__":
    for name in record():
        print(name)
