"""Pictures as Chromium draws them: where every word is, and how wide it came out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")
SECONDS: Final = 60.0

_LOOK: Final = """
const found = {};
for (const svg of document.querySelectorAll('svg.es-saga')) {
  const [, , width, height] = svg.getAttribute('viewBox').split(' ').map(Number);
  found[svg.parentElement.id] = {width, height, words: [...svg.querySelectorAll('text')].map(t => {
    const b = t.getBBox();
    return {text: t.textContent, size: parseFloat(getComputedStyle(t).fontSize),
            bold: getComputedStyle(t).fontWeight >= 600,
            x: b.x, y: b.y, width: b.width, height: b.height};
  })};
}
document.body.textContent = JSON.stringify(found);
"""


class Word(NamedTuple):
    """One text, and the box that it fills, in pixels."""

    text: str
    size: float
    bold: bool
    x: float
    y: float
    width: float
    height: float

    def covers(self, other: Word) -> bool:
        """Whether the two run into each other; letters do not fill their boxes to the edge."""
        apart_x = self.x + self.width <= other.x + 0.5 or other.x + other.width <= self.x + 0.5
        high, low = (self, other) if self.y < other.y else (other, self)
        apart_y = high.y + high.height * 0.8 <= low.y + low.height * 0.2
        return not (apart_x or apart_y)


class Picture(NamedTuple):
    """What came of a picture."""

    width: float
    height: float
    words: list[Word]


def rendered(pictures: Mapping[str, str], folder: Path, font: str) -> dict[str, Picture]:
    """Draw them all; whatever fonts they ask for, this one is used."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: install the package chromium")
    page = folder / "page.html"
    shown = "".join(
        f'<div id="{html.escape(name)}">{picture}</div>' for name, picture in pictures.items()
    )
    style = f"<style>svg {{ font-family: '{font}' !important }}</style>"
    page.write_text(
        f"<!doctype html><meta charset=utf-8>{style}<body>{shown}<script>{_LOOK}</script></body>"
    )
    flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}")
    done = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    body = re.search(r"<body>(.*)</body>", done.stdout, re.DOTALL)
    assert body is not None, done.stdout[:500]
    told = json.loads(html.unescape(body[1]))
    return {
        name: Picture(one["width"], one["height"], [Word(**word) for word in one["words"]])
        for name, one in told.items()
    }
