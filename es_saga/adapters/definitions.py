"""Which definitions the log has seen: one version of a saga type means one shape, for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from es_saga.adapters.tables import DEFINITIONS
from es_saga.core.definition import Definition
from es_saga.core.errors import DefinitionError


def register(engine: sa.Engine, definitions: Iterable[Definition]) -> None:
    """Remember each definition, or make sure that it is the one remembered.

    Raises:
        DefinitionError: a version is known with another shape; every difference is listed.
    """
    with engine.begin() as connection:
        for definition in definitions:
            which = (DEFINITIONS.c.type == definition.name) & (
                DEFINITIONS.c.version == definition.version
            )
            known = connection.execute(sa.select(DEFINITIONS).where(which)).mappings().first()
            if known is None:
                connection.execute(
                    sa.insert(DEFINITIONS).values(
                        type=definition.name,
                        version=definition.version,
                        fingerprint=definition.fingerprint,
                        shape=json.dumps(definition.shape),
                        first_seen=time.time(),
                    )
                )
            elif known["fingerprint"] != definition.fingerprint:
                raise DefinitionError(
                    f"{definition.name} version {definition.version}",
                    [
                        *_differences(json.loads(known["shape"]), definition.shape),
                        f"sagas run on the old shape: give the new one version="
                        f"{definition.version + 1}, and keep the old one in the app",
                    ],
                )


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What changed between two shapes, a line each."""
    before = {step["name"]: step for step in old["steps"]}
    after = {step["name"]: step for step in new["steps"]}
    lines = [f"step {name} is gone" for name in before if name not in after]
    lines += [f"step {name} is new" for name in after if name not in before]
    for name in before.keys() & after.keys():
        for aspect, was in before[name].items():
            now = after[name].get(aspect)
            if was != now:
                lines.append(f"step {name}: {aspect} was {was!r}, is {now!r}")
    kept_before = [name for name in before if name in after]
    kept_after = [name for name in after if name in before]
    if kept_before != kept_after:
        lines.append(f"the order was {', '.join(kept_before)}, is {', '.join(kept_after)}")
    return sorted(lines)
