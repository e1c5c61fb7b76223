"""How long the reference business waits: one number, for every step of every saga."""

from __future__ import annotations

import os
from datetime import timedelta

PATIENCE = timedelta(seconds=float(os.environ.get("DOMAIN_PATIENCE_SECONDS", "2")))
"""Longest wait for the answer to one attempt. Two seconds show a timeout while one watches; the
library's default, 30 seconds, is the better choice for services that do real work."""
