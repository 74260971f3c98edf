"""What of a page's server is open: some paths, to requests under its own name, of a limited size.

Gradio answers at some sixty paths, of which the page uses a dozen; and it fetches whatever address stands in
the place of an uploaded file. This stands before it, as an ASGI application around another one.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
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
PORTS = {"http": 80, "https": 443}  # their default ports
# Types of a body that a page of any origin may send without asking this server first.
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded", "text/plain", "")
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


class UploadFolder:
    """A new, private folder for the uploads of this process, which deletes only files that it recorded.

    Attributes:
        path: The folder, created by this object; never one that existed before.
        recorded: Device and inode of every file that an upload left in the folder.
    """

    def __init__(self):
        self.path = Path(os.path.realpath(tempfile.mkdtemp(prefix="ipet_serve_")))
        self.recorded: dict[str, tuple[int, int]] = {}

    def files(self) -> dict[str, os.stat_result]:
        """Return the files that lie in the folder, by path. Symbolic links are not followed."""
        found = {}
        for folder, _, names in os.walk(self.path):
            for name in names:
                try:
                    found[path] = os.lstat(path := os.path.join(folder, name))
                except OSError:  # removed meanwhile
                    continue
        return found

    def num_bytes(self) -> int:
        """Return the size of all files in the folder."""
        return sum(status.st_size for status in self.files().values())

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the files that appear in the folder inside the block as uploads."""
        before = self.files()
        try:
            yield
        finally:
            new = {path: status for path, status in self.files().items() if path not in before}
            self.recorded |= {path: (status.st_dev, status.st_ino) for path, status in new.items()}

    def remove_expired(self, seconds: float) -> None:
        """Delete recorded uploads that were last written more than ``seconds`` ago.

        Gradio deletes the uploads that it received whole. It does not know of those that were cut off.
        """
        files, oldest = self.files(), time.time() - seconds
        for path, identity in list(self.recorded.items()):
            status = files.get(path)
            if status is None or (status.st_dev, status.st_ino) != identity:
                del self.recorded[path]  # deleted by Gradio, or another file by now
            elif status.st_ctime < oldest:
                Path(path).unlink(missing_ok=True)
                del self.recorded[path]

    def remove(self) -> None:
        """Delete the folder. It is this process's own, and so is everything that was written into it."""
        shutil.rmtree(self.path, ignore_errors=True)


class Gate:
    """An ASGI application in front of another one that checks every request.

    Args:
        app: Application that answers the requests that pass.
        uploads: Folder of the uploads. No other file is sent or read.
        names: Host names that the page is reached by, ``NAME`` or ``NAME:PORT``; empty accepts any.
        most_bytes: Maximum size of an uploaded file in bytes.

    Raises:
        ValueError: The folder is not an ``UploadFolder``, so this process may not have created it.
    """

    def __init__(self, app, uploads: UploadFolder, names: Collection[str], most_bytes: int):
        if not isinstance(uploads, UploadFolder):
            raise ValueError(f"{uploads}: not created for uploads by this process; expected an UploadFolder")
        self.app, self.uploads, self.folder = app, uploads, uploads.path
        self.addresses = [address_of("//" + name) for name in sorted(names)]
        self.names, self.most_bytes = {address.host for address in self.addresses}, most_bytes
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

        unread, is_upload = True, scope["path"] == UPLOAD
        if is_upload:
            self.uploads.remove_expired(KEPT_SECONDS)
        try:
            self.check(scope["method"], scope["path"], headers, scope.get("scheme", "http"))
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
        if not is_upload:
            return await self.app(scope, receive, send_with_headers)
        coming = int(headers["content-length"])
        self.coming += coming
        try:
            with self.uploads.recording():
                return await self.app(scope, receive, send_with_headers)
        finally:
            self.coming -= coming

    def check(self, method: str, path: str, headers: dict[str, str], scheme: str = "http") -> None:
        """Raise Refused for a request that is not one of the page's.

        Args:
            method, path: Method and path of the request.
            headers: Headers, by their names in lower case.
            scheme: Scheme that the request came by, ``http`` or ``https``.
        """
        # Another site's host name that points here makes a browser take this page for that site's.
        host = address_of("//" + headers.get("host", ""))
        if not host.host or (self.names and host.host not in self.names):
            raise Refused(421, "this server is not known under that name; start it with -names NAME")
        self.check_origin(method, host, headers, scheme)
        if path.startswith(FILE) and method in ("GET", "HEAD"):
            if not self.holds(path.removeprefix(FILE)):
                raise Refused(404, "no such file")
        elif not (method in ("GET", "HEAD") and path.startswith(BELOW)) and path not in EXACT.get(
            "GET" if method == "HEAD" else method, ()
        ):
            raise Refused(404, "nothing is here")
        if method == "POST":
            self.check_size(path, headers)

    def check_origin(self, method: str, host: "Address", headers: dict[str, str], scheme: str) -> None:
        """Raise Refused for a request that a page of another origin sends: another scheme, host or port.

        Browsers name the origin of every POST. Where it is missing, ``sec-fetch-site`` decides; a form, which
        a page of any origin may send, needs one of the two headers.
        """
        refused = Refused(
            403, "not sent by this server's own page: no origin, or another scheme, host or port"
        )
        if "origin" in headers:
            if not self.is_own(headers["origin"], host, headers.get("x-forwarded-proto", ""), scheme):
                raise refused
        elif method == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            site = headers.get("sec-fetch-site", "cross-site" if kind in FORMS else "none")
            if site.strip().lower() not in ("same-origin", "none"):
                raise refused

    def is_own(self, origin: str, host: "Address", forwarded: str, scheme: str) -> bool:
        """Return whether an ``Origin`` header names this server's page.

        Args:
            origin: Value of the header.
            host: Address in the ``Host`` header.
            forwarded: ``X-Forwarded-Proto`` of a reverse proxy, or nothing.
            scheme: Scheme that the request came by.
        """
        address = address_of(origin)
        schemes = {forwarded.partition(",")[0].strip().lower() or scheme}
        if not forwarded and host.host not in LOOPBACK:
            schemes = set(PORTS)  # a reverse proxy's, which need not say how it was asked
        if not address.host or address.scheme not in PORTS:
            return False
        if address.host == host.host and address.scheme in schemes:
            return address.port == (host.port or PORTS[address.scheme])
        # A reverse proxy may ask under the loopback's name: then the page has the name that -names gives.
        return host.host in LOOPBACK and any(
            address.host == own.host and address.port == (own.port or PORTS[address.scheme])
            for own in self.addresses
            if own.host not in LOOPBACK
        )

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
        lying = self.uploads.num_bytes() if path == UPLOAD else 0
        if path == UPLOAD and lying + self.coming + int(length) > FULL * self.most_bytes:
            raise Refused(503, "too many recordings lie here; try again in some minutes")

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


class Address(NamedTuple):
    """The parts of an origin or of a ``Host`` header; all empty where it is malformed.

    ``port`` is the default of the scheme where none is given, and None where there is no scheme either.
    """

    scheme: str = ""
    host: str = ""
    port: int | None = None


def address_of(url: str) -> Address:
    """Parse ``SCHEME://HOST:PORT`` or ``//HOST:PORT``, in lower case, IPv6 addresses in brackets or bare."""
    scheme, _, rest = url.partition("//")
    if rest.count(":") > 1 and not rest.startswith("["):
        url = f"{scheme}//[{rest}]"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return Address()
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return Address()  # no browser sends it
    return Address(parts.scheme, host, PORTS.get(parts.scheme) if port is None else port)


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
