"""Fixtures of several test modules, and the choice of long tests."""

import os

import pytest

from browser import browser, browser_page, chromium  # noqa: F401

# A user's choice: no command under test measures this machine's load and prints what it found.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def pytest_collection_modifyitems(items):
    """Skip tests that are marked as long, unless the environment variable ``IPET_TORTURE`` is set."""
    if os.environ.get("IPET_TORTURE"):
        return
    skip = pytest.mark.skip(reason="a long test: `make torture` or IPET_TORTURE=1 runs it")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)
