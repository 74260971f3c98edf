"""Fixtures of several test modules."""

from browser import browser, browser_page, chromium  # noqa: F401
