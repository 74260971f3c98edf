"""What of a page's server is open: some paths, to requests under its own name, of a limited size.

Gradio answers at some sixty paths, of which the page uses a dozen; and it fetches whatever address stands in
the place of an uploaded file. This stands before it, as an ASGI application around another one.
"""

import json
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
EXACT = {
    "GET": {"/", "/theme.css", "/favicon.ico", "/gradio_api/queue/data", "/gradio_api/upload_progress"},
    "POST": {f"/gradio_api/{name}" for name in ("queue/join", "upload", "reset")},
}
BELOW = ("/assets/", "/static/", "/report/")
FILE, UPLOAD = "/gradio_api/file=", "/gradio_api/upload"
MOST_SENT = 1 << 20  # bytes of a request that is no upload
KEPT_SECONDS = 600  # that an upload is kept after it was last written
SLACK = 1 << 16  # bytes of an upload beside its file
FULL = 16  # largest uploads that lie in the folder at once
# What the browser may load for the page, and from where: this server alone.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "base-uri 'self'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Refused(Exception):
    """A request that is not answered: an HTTP status, and why."""


class Gate:
    """An ASGI application before another one.

    Args:
        app: the other one.
        folder: of the uploads; no other file is told of, or read.
        names: host names of the page; empty: any.
        most_bytes: of an uploaded file.
    """

    def __init__(self, app, folder: Path, names: Collection[str], most_bytes: int):
        self.app, self.folder = app, Path(os.path.realpath(folder))
        self.names, self.most_bytes = {name.lower() for name in names}, most_bytes
        self.coming = 0  # bytes of the uploads that are being sent

    async def __call__(self, scope, receive, send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # a WebSocket: the page opens none
            return await send({"type": "websocket.close", "code": 1008})
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }

        async def send_with_headers(message: dict) -> None:
            """What is answered; a report has its own policy."""
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(m for m in more if m[0] not in given)]
            await send(message)

        unread = True
        try:
            self.check(scope["method"], scope["path"], headers)
            if scope["path"] == "/gradio_api/queue/join":
                unread = False
                receive = await self.checked_body(receive)
        except Refused as refused:
            status, text = refused.args
            if unread and status != 411:  # of a length that is not known nothing is read
                await drain(receive, FULL * self.most_bytes)
            head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send_with_headers({"type": "http.response.start", "status": status, "headers": head})
            return await send({"type": "http.response.body", "body": text.encode()})
        coming = int(headers["content-length"]) if scope["path"] == UPLOAD else 0
        self.coming += coming
        try:
            return await self.app(scope, receive, send_with_headers)
        finally:
            self.coming -= coming

    def check(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Raise Refused where a request is not one of the page's."""
        # A stranger's host name that points here makes a browser take this page for the stranger's.
        name = host_of("//" + headers.get("host", ""))
        if self.names and name not in self.names:
            raise Refused(421, "this server is not known under that name; start it with -names NAME")
        origin = headers.get("origin")
        if origin is not None and host_of(origin) not in self.names | {name}:
            raise Refused(403, "not asked by this server's own page")
        if path.startswith(FILE) and method in ("GET", "HEAD"):
            if not self.holds(path.removeprefix(FILE)):
                raise Refused(404, "no such file")
        elif not (method in ("GET", "HEAD") and path.startswith(BELOW)) and path not in EXACT.get(
            "GET" if method == "HEAD" else method, ()
        ):
            raise Refused(404, "nothing is here")
        if method == "POST":
            self.check_size(path, headers)

    def check_size(self, path: str, headers: dict[str, str]) -> None:
        """Raise Refused where a request is too large, or does not say how large it is."""
        length = headers.get("content-length", "")
        if "transfer-encoding" in headers:  # another length than the one that is told
            raise Refused(411, "expected a content-length, and no transfer-encoding")
        if not length.isdecimal():
            raise Refused(411, "expected a content-length")
        most = self.most_bytes + SLACK if path == UPLOAD else MOST_SENT
        if int(length) > most:
            raise Refused(413, f"{int(length):,} bytes; at most {most:,} are accepted")
        if path == UPLOAD and self.held() + self.coming + int(length) > FULL * self.most_bytes:
            raise Refused(503, "too many recordings lie here; try again in some minutes")

    def held(self) -> int:
        """Bytes of the uploads that lie in the folder; those of before ``KEPT_SECONDS`` are removed first.

        Gradio forgets one that was cut off.
        """
        sizes, oldest = 0, time.time() - KEPT_SECONDS
        for folder, _, names in os.walk(self.folder):
            for name in names:
                try:
                    found = os.lstat(path := os.path.join(folder, name))
                    if found.st_ctime < oldest:
                        os.unlink(path)
                    else:
                        sizes += found.st_size
                except OSError:  # removed meanwhile
                    continue
        return sizes

    def holds(self, path: str) -> bool:
        """Whether a path names a file among the uploads."""
        try:
            found = Path(os.path.realpath(path))
            return self.folder in found.parents and found.is_file()
        except (ValueError, OSError):  # a NUL; a name that is too long
            return False

    async def checked_body(self, receive):
        """A question's body, whose files must be uploads; returns what hands it on.

        Raises:
            Refused: it is no JSON, or names another file, or an address.
        """
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "cut off")
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > MOST_SENT:
                raise Refused(413, f"more than {MOST_SENT:,} bytes")
        try:
            paths = list(paths_in(json.loads(body)))
        except (ValueError, RecursionError):
            raise Refused(400, "expected JSON") from None
        if not all(isinstance(path, str) and self.holds(path) for path in paths):
            raise Refused(400, "the recording is no longer here: choose it again")
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> dict:
            """The body once, then what comes."""
            return waiting.pop() if waiting else await receive()

        return again


async def drain(receive, most: int) -> None:
    """Read a body of at most so many bytes, and forget it: a browser that is cut off shows no reason."""
    more = True
    while more and most > 0:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
        most -= len(message.get("body", b""))


def host_of(url: str) -> str:
    """The host of an address, in small letters; nothing where it has none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def paths_in(value) -> Iterator:
    """What stands under ``path`` anywhere in a JSON value."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("path") is not None:
                yield value["path"]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
