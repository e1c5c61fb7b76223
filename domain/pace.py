"""How long the reference business waits: one number for every answer, and one for every day."""

from __future__ import annotations

import os
from datetime import timedelta

PATIENCE = timedelta(seconds=float(os.environ.get("DOMAIN_PATIENCE_SECONDS", "2")))
"""Longest wait for the answer to one attempt. Two seconds show a timeout while one watches; the
library's default, 30 seconds, is the better choice for services that do real work."""

DAY = timedelta(seconds=float(os.environ.get("DOMAIN_DAY_SECONDS", "86400")))
"""How long a day lasts: two seconds show a deadline of days while one watches."""
