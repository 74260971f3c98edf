"""Fixtures of several test modules."""

import os

from browser import browser, browser_page, chromium  # noqa: F401

# A user's choice: no command under test measures this machine's load and prints what it found.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
