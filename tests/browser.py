"""A real browser for tests: Debian's Chromium, headless, driven by Playwright; ``conftest.py`` hands it on.

    def test_a_page_has_a_heading(browser_page):
        browser_page.goto("http://127.0.0.1:7860")               # or a file's ``path.as_uri()``
        assert browser_page.get_by_role("heading").count() == 1
        assert not browser_page.errors and not hosts(browser_page) - {"127.0.0.1"}

Where Chromium is missing, root installs it by apt-get, once for all workers; a test is skipped, with the
reason, only where that cannot be done.
"""

import os
import shutil
import subprocess
import time
from urllib.parse import urlsplit

import pytest
from filelock import FileLock

NAMES = ("chromium", "chromium-browser", "google-chrome")
# A mirror that does not answer is given up soon; another apt-get that is running is waited for.
APT = (
    "apt-get",
    "-o",
    "Acquire::http::Timeout=10",
    "-o",
    "Acquire::Retries=1",
    "-o",
    "DPkg::Lock::Timeout=120",
)
COMMANDS = (("update", "-qq"), ("install", "-y", "-qq", "--no-install-recommends", "chromium"))
SECONDS = 240  # that a command may take; both together take about 15
SIZE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
# A microphone that beeps, without asking.
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def installed():
    """Where the browser's program lies, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def install():
    """Install Chromium from Debian's packages; what went wrong in one line, or None."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which(APT[0]) is None:
        return "not root on a machine with apt-get"
    began = time.monotonic()
    for command in COMMANDS:
        try:
            done = subprocess.run(
                [*APT, *command],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"apt-get {command[0]} took longer than {SECONDS} s"
        if done.returncode:
            return f"apt-get {command[0]}: {(done.stderr.strip().splitlines() or ['no reason told'])[-1]}"
    print(f"Chromium was installed in {time.monotonic() - began:.1f} s")
    return None


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The browser's program."""
    lock = tmp_path_factory.getbasetemp().parent / "chromium.lock"  # of all workers of a run
    with FileLock(lock):
        reason = None if installed() else install()
    if installed() is None:
        pytest.skip(f"needs a Chromium: {reason or 'its package holds no program of that name'}")
    return installed()


# Of a module: while it is open, its event loop is in every other test's way.
@pytest.fixture(scope="module")
def browser(chromium):
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="a browser needs Playwright")
    with playwright.sync_playwright() as driver:
        # A root's Chromium has no sandbox, and the /dev/shm of a container is small.
        flags = ["--no-sandbox", "--disable-dev-shm-usage", *MICROPHONE]
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def browser_page(browser):
    """A page in a profile of its own, Playwright's ``Page`` with two lists more.

    ``errors`` holds what the console and uncaught exceptions said, ``requested`` the URL of every request.
    """
    context = browser.new_context(viewport=SIZE, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(30_000)  # ms; two cores may have much else to do
    page.errors, page.requested = [], []
    page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.requested.append(request.url))
    yield page
    context.close()


def hosts(page):
    """The hosts that a page asked for anything; what lies in the page, or in a file, has none."""
    return {urlsplit(url).hostname for url in page.requested} - {None}
