"""python3 -m ipet serve: a page that hears recordings, on this machine alone unless it is told otherwise."""

import contextlib
import inspect
import logging
import os
import socket
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ipet.audio import SAMPLE_RATE
from ipet.hearing import Adapter, load_adapters
from ipet.page import TEMPLATES, Page, render
from ipet.report import DAMAGE, read_runs, told
from ipet.run_page import run_page
from ipet.serve_gate import LOOPBACK, Gate, UploadFolder

CLOSING_SECONDS = 2  # that open connections are waited for
# A report stands alone: it may ask for nothing.
REPORT_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src data:; media-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
}


def serve(
    folders: Sequence[str],
    host: str = "127.0.0.1",
    port: int = 7860,
    names: Sequence[str] = (),
    most_mb: float = 64,
    most_minutes: float = 30,
    queue: int = 20,
    reports: bool = True,
    open_browser: bool = False,
    device: str | None = None,
    pretrained: str | None = None,
    precision: str = "fp32",
    began: float | None = None,
) -> int:
    """Serve saved adapters until an interrupt or SIGTERM; the exit status.

    Args:
        folders: of the adapters, or hub ids.
        host: address that is listened at.
        port: 0: a free one.
        names: further host names that it is reached by, as those of a reverse proxy.
        most_mb, most_minutes: of a recording.
        queue: questions that may wait.
        reports: link the page of the run that an adapter lies in.
        open_browser: show the page in this machine's browser, too.
        device, pretrained, precision: see ``inference.load``.
        began: when the start began, of ``time.perf_counter``, which is told; now if not given.

    Raises:
        ModuleNotFoundError: Gradio is not installed.
        OSError, ValueError: an address that cannot be listened at; see ``inference.load``.
    """
    began = time.perf_counter() if began is None else began
    with listening(host, port) as listener, uploads() as folder:
        with no_stubs():
            import gradio  # noqa: F401, before the models: where it is missing, that is told at once

        if host not in LOOPBACK:
            print(exposed(host), file=sys.stderr, flush=True)
        adapters = load_adapters(folders, device, pretrained, precision)
        app = application(adapters, folder, host, names, most_mb, most_minutes, queue, reports)
        url = address(host, listener.getsockname()[1])

        def ready() -> None:
            """Say that questions are answered from now on."""
            seconds = time.perf_counter() - began
            print(f"{url}  ready in {seconds:.1f} s; Ctrl-C ends it", flush=True)
            if open_browser:
                webbrowser.open(url)

        with contextlib.suppress(KeyboardInterrupt):  # uvicorn's, once it has closed in good order
            run(app, listener, ready)
    print("ended; the recordings that were sent are removed", flush=True)
    return 0


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens at an address.

    Raises:
        OSError: the address is taken, or not this machine's; the message says which flag mends it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"-host {host} -port {port}: {error.strerror or error}; expected an address of this machine and "
            "a port that nothing else listens at, or 0 for a free one"
        ) from None
    with contextlib.closing(listener):
        yield listener


@contextlib.contextmanager
def no_stubs() -> Iterator[None]:
    """Gradio parses all its components whenever it is imported, and writes stubs for editors beside them.

    It leaves out those that come from no file; here all of them do, which saves a quarter of the start.
    """
    file_of = inspect.getfile

    def none_of_gradio(thing) -> str:
        """As ``inspect.getfile``."""
        if inspect.isclass(thing) and thing.__module__.startswith("gradio."):
            raise OSError(f"{thing.__name__}: no stub is wanted")
        return file_of(thing)

    inspect.getfile = none_of_gradio
    try:
        yield
    finally:
        inspect.getfile = file_of


@contextlib.contextmanager
def uploads() -> Iterator[UploadFolder]:
    """Yield a new folder for everything that is sent to this process, and delete it at the end.

    Gradio is pointed to it and told to ask no other host for anything.
    """
    folder, former = UploadFolder(), tempfile.tempdir
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder.path),
        "GRADIO_EXAMPLES_CACHE": str(folder.path / "examples"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_SHARE": "False",
    }
    tempfile.tempdir = str(folder.path)  # an upload that is cut off lies there, too
    try:
        yield folder
    finally:
        tempfile.tempdir = former
        folder.remove()


def application(
    adapters: Sequence[Adapter],
    folder: UploadFolder,
    host: str,
    names: Sequence[str],
    most_mb: float,
    most_minutes: float,
    queue: int,
    reports: bool,
):
    """The page, the reports and the gate before both, as an ASGI application; see ``serve``."""
    import gradio
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    from ipet import serve_page

    runs = {a.name: a.run for a in adapters if reports and a.run is not None}
    links = {name: f"/report/{i}" for i, name in enumerate(runs)}
    pages: dict[int, str] = {}
    closed = {"docs_url": None, "redoc_url": None, "openapi_url": None}
    app = FastAPI(**closed)

    @app.get("/report/{number}")
    def report(number: int) -> HTMLResponse:
        """The page of a run, made when it is first asked for."""
        if not 0 <= number < len(runs):
            return HTMLResponse("no such report", status_code=404)
        if number not in pages:
            pages[number] = report_of(list(runs.values())[number])
        return HTMLResponse(pages[number], headers=REPORT_HEADERS)

    page = serve_page.Page(adapters, folder.path, 60 * most_minutes, queue, links)
    for adapter in {a.of_voices: a for a in reversed(adapters)}.values():  # the first of each kind
        warm_up(page, adapter, folder.path)
    most_bytes = round(most_mb * 1e6)
    # Fonts of the reader's machine: Gradio's default would be asked from another host.
    theme = gradio.themes.Soft(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    gradio.mount_gradio_app(
        app,
        page.build(),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=most_bytes,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        app_kwargs=closed,
        theme=theme,
        css=(TEMPLATES / "heard.css").read_text(),
    )
    return Gate(app, folder, known_names(host, names), most_bytes)


def known_names(host: str, names: Sequence[str]) -> set[str]:
    """The host names that the page is shown under; empty: under any.

    At another address than the loopback a machine's names are many: all will do unless some are given.
    """
    return {*LOOPBACK, host, *names} if host in LOOPBACK or names else set()


def warm_up(page, adapter: Adapter, folder: Path) -> None:
    """Hear noise once: the first answer of a model, and the first picture, take longer than all others."""
    import soundfile

    path = folder / "noise.wav"
    noise = 0.1 * torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    soundfile.write(path, noise.numpy(), SAMPLE_RATE)
    if adapter.of_voices:
        page.compare(adapter.name, str(path), str(path))
    else:
        list(page.hear(adapter.name, str(path)))
    path.unlink()


def report_of(folder: Path) -> str:
    """The page of a run as HTML, without recordings to play; or why there is none."""
    errors: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for found in read_runs([folder], None, errors):
                return render(run_page(found, Path(scratch), 0, errors))
        except DAMAGE as error:
            errors.append(told(folder, error))
    return render(Page("No report", told=errors))


def run(app, listener: socket.socket, ready) -> None:
    """Answer until a signal; ``ready`` is called once."""
    import uvicorn

    class Server(uvicorn.Server):
        """Says when it answers."""

        async def startup(self, sockets=None) -> None:
            """As uvicorn's."""
            await super().startup(sockets)
            if self.started:
                ready()

    # Connections that a page left open are cut off at the end: no fault, and no traceback.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "timeout graceful shutdown" not in f"{record.getMessage()} {record.exc_info}"
    )
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=CLOSING_SECONDS, ws="none")
    Server(config).run([listener])


def address(host: str, port: int) -> str:
    """What a browser is to open."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def exposed(host: str) -> str:
    """What is shown to whom by listening at another address than the loopback."""
    return (
        f"warning: -host {host}: everybody who reaches this machine there can use the adapters, send "
        "recordings and read the runs' reports (-no_reports leaves these out), unencrypted, unasked; "
        "ssh -L shows the page from elsewhere without it, see docs/serve.md"
    )
