"""The page of ``python3 -m ipet serve``: what Gradio shows, and which question each change asks."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ipet import hearing
from ipet.hearing import Adapter
from ipet.page import TEMPLATES, drawn
from ipet.plots import plot_spectrogram, plot_timeline
from ipet.printable import escaped
from ipet.serve_gate import KEPT_SECONDS

TOP = 5  # classes of a recording
MOST_EVENTS = 200  # in a table
EACH_SECONDS = 60  # between two looks for those that are older
HINT = '<p class="hint">Upload a recording, or record one: what is heard is shown here.</p>'
NOTHING = (HINT, "", "")
PROGRESS = gr.Progress()
HEAD = (
    '<div class="head"><h1>IPET</h1><p>Recordings are heard by {} on this server, which keeps them for '
    "{} minutes.</p></div>"
)


@dataclass(frozen=True)
class Page:
    """What the page is made of, and what may be asked.

    Args:
        adapters: at least one.
        folder: of the uploads, which no message tells of.
        most_seconds: of a recording.
        queue: questions that may wait.
        reports: the address of the page of an adapter's run, by the adapter's name.
    """

    adapters: Sequence[Adapter]
    folder: Path
    most_seconds: float
    queue: int
    reports: Mapping[str, str]
    # A model holds its prompts' keys and values while it hears: never two at once, whatever Gradio gave up.
    turn: threading.Lock = field(default_factory=threading.Lock)

    def named(self, name: str) -> Adapter:
        """The adapter of that name.

        Raises:
            ValueError: there is none, which the page itself never asks for.
        """
        for adapter in self.adapters:
            if adapter.name == name:
                return adapter
        raise ValueError("no adapter of that name is served here")

    def hear(self, name: str, path: str | None, progress=PROGRESS) -> Iterator[tuple[str, str, str]]:
        """What a recording holds: its classes, then its spectrogram, then its timeline, if it is long.

        Args:
            name: of the adapter.
            path: None: no recording is there.
            progress: is told how much of the recording the timeline has.
        """
        if path is None:
            yield NOTHING
            return
        try:
            adapter = self.named(name)
            with self.turn:
                heard = hearing.hear(adapter.model, path, self.most_seconds, TOP)
            labels = part("labels", heard, "calibration" in adapter.model.description)
            yield labels, "", ""
            shown = labels, spectrogram(heard)
            yield *shown, ""
            if hearing.is_long(adapter.model, heard):
                yield *shown, self.timeline(adapter, path, heard.seconds, progress)
        except (ValueError, OSError) as error:
            yield part("message", self.told(error, path)), "", ""

    def timeline(self, adapter: Adapter, path: str, seconds: float, progress: Callable) -> str:
        """What a recording holds from when to when."""
        windows = []
        with self.turn:
            for window in adapter.model.timeline(path):
                windows.append(window)
                progress(min(1.0, window.end / seconds), desc="timeline")
        line = hearing.timeline(adapter.model, windows)
        caption = f"Probabilities of the {len(line.curves)} classes that reach the highest"
        alt = (
            f"Probabilities over {line.seconds:.1f} seconds of {', '.join(line.curves)}; events in the table."
        )
        return part(
            "timeline", line, drawn(alt, caption, plot_timeline, line.middles, line.curves, line.seconds)
        )

    def compare(self, name: str, one: str | None, other: str | None) -> str:
        """How alike two voices are; nothing as long as one is missing."""
        if one is None or other is None:
            return ""
        try:
            adapter = self.named(name)
            with self.turn:
                return part("alike", hearing.compare(adapter, one, other, self.most_seconds), adapter)
        except (ValueError, OSError) as error:
            return part("message", self.told(error, one, other))

    def about(self, name: str) -> str:
        """What an adapter is, and the link to its run's page."""
        adapter = self.named(name)
        return part("about", facts(adapter), self.reports.get(name, ""))

    def told(self, error: Exception, *paths: str) -> str:
        """An error, with recordings under the names that they were sent by."""
        text = str(error)
        for path in paths:
            text = text.replace(path, Path(path).name)
        return escaped(re.sub(rf"{re.escape(str(self.folder))}\S*/", "", text))

    def build(self) -> gr.Blocks:
        """The page; it answers once it is mounted."""
        sounds = [a for a in self.adapters if not a.of_voices]
        voices = [a for a in self.adapters if a.of_voices]
        count = f"{len(self.adapters)} saved adapter{'s' * (len(self.adapters) > 1)}"
        times = (EACH_SECONDS, KEPT_SECONDS)
        with gr.Blocks(title="IPET", analytics_enabled=False, delete_cache=times) as blocks:
            gr.HTML(HEAD.format(count, KEPT_SECONDS // 60))
            if sounds and voices:
                with gr.Tab("What is heard"):
                    self.build_sounds(sounds)
                with gr.Tab("Two voices"):
                    self.build_voices(voices)
            elif sounds:
                self.build_sounds(sounds)
                gr.HTML(
                    '<p class="about">Two voices can be compared where an adapter of ast_voxceleb or '
                    "w2v_voxceleb is served, too.</p>"
                )
            else:
                self.build_voices(voices)
        return blocks.queue(max_size=self.queue, api_open=False)

    def build_sounds(self, adapters: Sequence[Adapter]) -> None:
        """A recording on the left, what it holds on the right, its timeline below."""
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                name = self.build_choice(adapters)
                recording = audio("A recording", "recording")
            with gr.Column(scale=3, min_width=320):
                labels = gr.HTML(HINT, elem_id="labels")
                picture = gr.HTML(elem_id="spectrogram")
        line = gr.HTML(elem_id="timeline")
        ask([recording.change, name.change], self.hear, [name, recording], [labels, picture, line], "models")

    def build_voices(self, adapters: Sequence[Adapter]) -> None:
        """Two recordings beside each other, and how alike they are."""
        name = self.build_choice(adapters)
        with gr.Row():
            one, other = audio("One voice", "one"), audio("Another voice", "other")
        alike = gr.HTML(elem_id="alike")
        ask([one.change, other.change, name.change], self.compare, [name, one, other], [alike], "models")

    def build_choice(self, adapters: Sequence[Adapter]) -> gr.Dropdown:
        """Which adapter hears, and what it is."""
        names = [adapter.name for adapter in adapters]
        choice = gr.Dropdown(names, value=names[0], label="Adapter", visible=len(names) > 1)
        about = gr.HTML(self.about(names[0]))
        ask([choice.change], self.about, [choice], [about], "words")
        return choice


def spectrogram(heard: hearing.Heard) -> str:
    """The picture of a recording."""
    alt = f"Spectrogram of {heard.seconds:.1f} seconds, up to 8,000 Hz."
    figure = drawn(alt, "Log-mel spectrogram", plot_spectrogram, heard.log_mel, heard.seconds, heard.ticks)
    return part("picture", figure)


def audio(label: str, name: str) -> gr.Audio:
    """A place for a recording, from a file or a microphone."""
    return gr.Audio(type="filepath", label=label, elem_id=name, sources=["upload", "microphone"], buttons=[])


def ask(changes: Sequence[Callable], function: Callable, inputs: list, outputs: list, turn: str) -> None:
    """Call a function after each change, the last of several; no program but the page itself may.

    Args:
        turn: functions of one ``turn`` are called one after another, never at once: a model holds the keys
            and values of its prompts while it hears.
    """
    gr.on(
        list(changes),
        function,
        inputs,
        outputs,
        api_visibility="private",
        trigger_mode="always_last",
        show_progress="full",
        show_progress_on=outputs[-1],
        concurrency_limit=1,
        concurrency_id=turn,
    )


def facts(adapter: Adapter) -> list[tuple[str, str]]:
    """What an adapter is, by name."""
    description, model = adapter.model.description, adapter.model
    metrics = {n: v for n, v in description.get("metrics", {}).items() if isinstance(v, int | float)}
    rows = [
        ("adapter", adapter.name),
        ("experiment", str(description.get("experiment", "unknown"))),
        ("classes" if not adapter.of_voices else "speakers in training", f"{len(model.labels):,}"),
        ("several at once", "yes" if model.several else "no"),
        ("method", str(description["tuning"]["method"])),
        ("backbone", str(description["backbone"]["pretrained"])),
        ("hears at once", f"{hearing.window_seconds(model):.1f} s"),
        *((name, f"{value:.4g}") for name, value in sorted(metrics.items())),
    ]
    return rows if not adapter.of_voices else [row for row in rows if row[0] != "several at once"]


def part(name: str, *values) -> str:
    """A macro of ``heard.html`` as HTML."""
    return str(getattr(MACROS, name)(*values))


def macros():
    """Those of ``heard.html``; the most rows of a table are known to them."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.globals["most"] = MOST_EVENTS
    return environment.get_template("heard.html").module


MACROS = macros()
