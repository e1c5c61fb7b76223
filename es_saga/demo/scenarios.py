"""Every scenario, by its name."""

from __future__ import annotations

from collections.abc import Iterator

from es_saga.core.errors import InvalidInput
from es_saga.demo.orders import ORDERS
from es_saga.demo.scenario import Scenario
from es_saga.demo.styles import STYLES

SCENARIOS: dict[str, Scenario] = {**ORDERS, **STYLES}

EVERY_STYLE = "styles"
"""The name of all that is in STYLES, one after the other."""


def told() -> Iterator[str]:
    """A line for each, for `--help`."""
    width = max(map(len, SCENARIOS))
    for name, scenario in SCENARIOS.items():
        yield f"{name:<{width}}  {scenario.about}"
    yield f"{EVERY_STYLE:<{width}}  {', '.join(STYLES)}: one after the other, with --once"


def chosen(name: str, *, once: bool) -> dict[str, Scenario]:
    """What `--scenario` means.

    Raises:
        InvalidInput: there is no such scenario; all of them would be watched at once.
    """
    if name == EVERY_STYLE:
        if not once:
            raise InvalidInput(
                "All styles are played one after the other.",
                hint="Say --once, or name one of them.",
            )
        return STYLES
    if name not in SCENARIOS:
        raise InvalidInput(
            f"There is no scenario {name!r}.",
            hint=f"One of: {', '.join(SCENARIOS)}, {EVERY_STYLE}.",
        )
    return {name: SCENARIOS[name]}
