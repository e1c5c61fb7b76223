"""What axe finds on a page: whatever keeps somebody from using it who sees or points otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def violations(page: Page, *, only: Sequence[str] = ()) -> list[str]:
    """Each in words. The page was opened with `bypass_csp`, or axe would not get in.

    Args:
        only: these rules; all of them unless any are named.
    """
    page.add_script_tag(path=AXE)
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if only:
        options["runOnly"] = [*only]
    report: dict[str, Any] = page.evaluate("options => axe.run(options)", options)
    return [
        f"{one['id']}, {one['help']}: {one['nodes'][0]['html']}" for one in report["violations"]
    ]
