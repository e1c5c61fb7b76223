"""What a participant raised, in one line: what it says, and where in its own code."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError


def said(error: BaseException) -> str:
    """The first line of what it says; of a database's error, what the driver says."""
    told = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(told).strip().partition("\n")[0]


def named(error: BaseException) -> str:
    """Its class, and what it says if it says anything."""
    return f"{type(error).__name__}: {said(error)}".rstrip(": ")


def place(error: BaseException, fn: Callable[..., Any]) -> str:
    """Where in the function's file it was raised, if it was there."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    file = code.co_filename if code is not None else ""
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == file
    ]
    return f" ({Path(file).name}, line {lines[-1]})" if lines else ""
