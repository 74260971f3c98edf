"""The page of ``serve`` in a real browser: one server for all tests, which asks nobody else for anything.

IPET_PICTURES=1 also draws docs/pictures/serve.png.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.checkpoint import trainable_state
from ipet.features import LogMel
from ipet.heads import Classifier, SpeakerHead
from ipet.methods import apply_method
from ipet.saved import save_adapter

from browser import PHONE, hosts
from helpers import ROOT, listening, long, processes_of, run_here

pytestmark = long
pytest.importorskip("gradio", reason="the page needs Gradio")

RATE = 16_000
KINDS = ("whistle", "hum", "hiss")
HOSTILE = "<img src=x onerror=alert(1)> ${1+1} {{2+2}} $x$"
READY_SECONDS, ANSWER_SECONDS = 60, 6  # 15 and 1 on two idle cores; tests share them
MAX_MB = 2


def sound(kind, seconds, seed=0):
    """[T] samples: a high tone, a low one with overtones, or noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(RATE * seconds)) / RATE
    noise = rng.standard_normal(len(t))
    if kind == "hiss":
        return np.clip(0.2 * noise, -1, 1)
    low, overtones = (rng.uniform(900, 1_500), 1) if kind == "whistle" else (rng.uniform(90, 140), 5)
    return sum(0.3 / k * np.sin(2 * np.pi * low * k * t) for k in range(1, overtones + 1)) + 0.01 * noise


def write(path, *parts):
    """A recording of (kind, seconds) behind one another."""
    samples = [sound(kind, seconds, seed=7) for kind, seconds in parts]
    soundfile.write(path, np.concatenate(samples), RATE)
    return path


def train(top):
    """A run that tells the three kinds apart; its adapter."""
    lists = top / "lists"
    (lists / "wav").mkdir(parents=True)
    rows = "".join(f"{i},/m/{name},{name}\n" for i, name in enumerate(KINDS))
    (lists / "labels.csv").write_text(f"index,mid,display_name\n{rows}")
    for name, first, count in (("train_1", 0, 24), ("eval_1", 1_000, 6)):
        clips = []
        for i in range(first, first + count):
            kind = KINDS[i % 3]
            soundfile.write(lists / f"wav/{i}.wav", sound(kind, 1.3, seed=i), RATE)
            clips.append({"wav": f"wav/{i}.wav", "labels": f"/m/{kind}"})
        (lists / f"{name}.json").write_text(json.dumps({"data": clips}))
    where = ["-path_list", lists, "-path_run", top / "runs", "-name", "sounds", "-fold", 1]
    model = ["-pretrained", "ast_small", "-frame_length", 128, "-freqm", 0, "-timem", 0, "-mixup", 0]
    steps = ["-epoch", 3, "-lr", "1e-2", "-batch_size", 8, "-num_workers", 0, "-precision", "fp32"]
    return run_here("ast_esc50", *where, *model, *steps) / "seed_1234/fold_1/last"


def save_voices(folder):
    """An adapter of voices on the same backbone, in a run whose trials' scores are known."""
    backbone = build_ast(128, pretrained="ast_small")
    settings = backbone.settings | {"pretrained": "ast_small", "sha256": backbone.sha256}
    apply_method(backbone, "linear")
    torch.manual_seed(0)
    front_end = LogMel(128, 128, mean=-6.6, std=5.4)
    model = Classifier(front_end, backbone, SpeakerHead(backbone.width, 4))
    description = {
        "experiment": "ast_voxceleb",
        "labels": [{"mid": f"/m/{i}", "name": f"speaker {i}"} for i in range(4)],
        "loss": "cce",
        "front_end": front_end.settings,
        "cut": {"num_samples": front_end.num_samples, "crop": "first", "zero_mean": True},
        "backbone": settings,
        "tuning": backbone.tuning,
        "metrics": {"epoch": 1},
    }
    save_adapter(folder / "seed_1/last", trainable_state(model), description)
    (folder / "arguments.json").write_text(json.dumps({"scoring": "mean_distance"}))
    np.savez(folder / "seed_1/predictions.npz", scores=np.array([-0.05, -0.9]), targets=np.array([1, 0]))
    return folder / "seed_1/last"


def renamed(adapter, folder):
    """A copy whose first class has a stranger's name."""
    folder.mkdir()
    for file in adapter.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["labels"][0]["name"] = HOSTILE
    path.write_text(json.dumps(config))
    return folder


@dataclass
class Served:
    """The server: its address, the folder that it was started in, its process."""

    url: str
    folder: Path
    pid: int


@pytest.fixture(scope="module")
def served(tmp_path_factory, chromium):
    top = tmp_path_factory.mktemp("served")
    adapters = [train(top), renamed(top / "runs/IPET/ast_esc50/sounds/seed_1234/fold_1/last", top / "other")]
    adapters.append(save_voices(top / "voices"))
    (top / "README.md").write_text("a secret")
    (top / "tmp").mkdir()
    paths = [str(path.relative_to(top)) for path in adapters]
    command = [sys.executable, "-m", "ipet", "serve", *paths, "-port", "0", "-max_mb", str(MAX_MB)]
    places = {"TMPDIR": str(top / "tmp"), "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | places
    began = time.monotonic()
    with open(top / "errors", "w") as errors:
        pipes = {"stdout": subprocess.PIPE, "stderr": errors, "text": True}
        process = subprocess.Popen([*command, "-max_minutes", "0.5"], cwd=top, env=environment, **pipes)
    try:
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        assert line.startswith("http://127.0.0.1:") and "ready in " in line, (
            line + (top / "errors").read_text()
        )
        print(f"\nserve: ready in {seconds:.1f} s from its start")
        assert seconds < READY_SECONDS
        yield Served(line.split()[0], top, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    errors = (top / "errors").read_text()
    assert process.returncode == 0 and said == "ended; the recordings that were sent are removed\n", errors
    assert "Traceback" not in errors, errors
    assert not [path for path in (top / "tmp").iterdir() if path.name.startswith("ipet_serve")]


def opened(page, served, tab=None):
    """The page, once it can be used."""
    page.goto(served.url)
    if tab:
        page.get_by_role("tab", name=tab).click()
    page.locator("input[type=file]").first.wait_for(state="attached")
    return page


def send(page, place, path):
    """Choose a recording there, in the place of one that is there."""
    clear = page.locator(f"#{place}").get_by_label("Clear")
    if clear.count():
        clear.first.click()
    page.set_input_files(f"#{place} input[type=file]", path)


def is_clean(page):
    """Nothing was asked of another host, and the console has no error."""
    assert hosts(page) == {"127.0.0.1"}
    assert not page.errors, page.errors


# In the browser -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_uploaded_and_its_label_read(served, browser_page, tmp_path, kind):
    page = opened(browser_page, served)
    clip = write(tmp_path / "five seconds.wav", (kind, 5))
    began = time.monotonic()
    send(page, "recording", clip)
    first = page.locator("#labels tbody tr").first
    first.wait_for()
    seconds = time.monotonic() - began
    print(f"\nserve: a clip of 5 s was answered in {seconds:.2f} s")
    assert first.inner_text().split("\t")[0].strip() == kind
    assert seconds < ANSWER_SECONDS
    picture = page.locator("#spectrogram img")
    assert "Spectrogram of 5.0 seconds" in picture.get_attribute("alt")
    assert picture.evaluate("image => image.naturalWidth") > 600
    is_clean(page)


def test_a_long_recording_has_a_timeline(served, browser_page, tmp_path):
    page = opened(browser_page, served)
    send(page, "recording", write(tmp_path / "a.wav", ("whistle", 4), ("hum", 3), ("hiss", 3)))
    page.locator("#timeline tbody tr").first.wait_for()
    rows = [row.split("\t") for row in page.locator("#timeline tbody tr").all_inner_texts()]
    assert [row[0].strip() for row in rows] == list(KINDS)
    onsets, offsets = ([float(row[i]) for row in rows] for i in (1, 2))
    assert onsets == pytest.approx([0, 4, 7], abs=1) and offsets == pytest.approx([4, 7, 10], abs=1)
    alt = page.locator("#timeline img").get_attribute("alt")
    assert "Probabilities over 10.0 seconds" in alt and all(kind in alt for kind in KINDS)
    assert "the first 1.3 s are heard" in page.locator("#labels").inner_text()
    is_clean(page)
    if os.environ.get("IPET_PICTURES"):
        page.wait_for_timeout(1_000)  # until the waveform is drawn
        path = ROOT / "docs/pictures/serve.png"
        path.parent.mkdir(exist_ok=True)
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        picture.convert("RGB").quantize(128).save(path, optimize=True)  # a third of the bytes
        assert path.stat().st_size < 200_000
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_two_voices_are_compared(served, browser_page, tmp_path):
    page = opened(browser_page, served, "Two voices")
    hum, hiss = write(tmp_path / "hum.wav", ("hum", 2)), write(tmp_path / "hiss.wav", ("hiss", 2))
    send(page, "one", hum)
    send(page, "other", hum)
    page.get_by_text("Probably one speaker: score").wait_for()
    send(page, "other", hiss)
    page.get_by_text("Probably two speakers: score").wait_for()
    assert "on the 2 trials of the run" in page.locator("#alike").inner_text()
    is_clean(page)


def test_what_cannot_be_heard_is_told_in_a_line(served, browser_page, tmp_path):
    page = opened(browser_page, served)
    (tmp_path / "broken.wav").write_bytes(b"RIFFnonsense" * 40)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    write(tmp_path / "endless.wav", ("hum", 40))
    for name, said in (
        ("broken", "broken.wav: not readable as audio"),
        ("silent", "silent.wav: silent, below -60 dB"),
        ("endless", "endless.wav: 0.7 minutes; at most 0.5 are heard here"),
    ):
        send(page, "recording", tmp_path / f"{name}.wav")
        page.get_by_role("alert").get_by_text(said).wait_for()
        text = page.inner_text("body")
        assert "Traceback" not in text and "ipet_serve" not in text and str(served.folder) not in text
        assert not page.locator("#spectrogram img").count()
    assert hosts(page) == {"127.0.0.1"}


def test_a_file_that_is_too_large_is_refused(served, browser_page, tmp_path):
    page = opened(browser_page, served)
    (tmp_path / "large.wav").write_bytes(bytes(MAX_MB * 1_000_000 + 100_000))
    send(page, "recording", tmp_path / "large.wav")
    page.get_by_text("exceed the maximum allowed size").first.wait_for()
    assert not page.locator("#labels tbody tr").count()
    assert (
        not [url for url in page.requested if "upload?" in url] or not page.locator("#labels table").count()
    )


def test_a_microphone_is_heard(served, browser_page):
    page = opened(browser_page, served)
    page.locator("#recording").get_by_label("Record audio").first.click()
    page.locator("#recording button.record-button").click()
    page.wait_for_timeout(2_500)  # the browser's own device beeps once a second
    page.locator("#recording button.stop-button").click()
    page.locator("#labels tbody tr").first.wait_for()
    is_clean(page)


def test_another_adapter_is_chosen_and_the_text_of_strangers_stays_text(served, browser_page, tmp_path):
    page = opened(browser_page, served)
    send(page, "recording", write(tmp_path / "a.wav", ("whistle", 3)))
    page.locator("#timeline tbody tr").first.wait_for()
    page.get_by_label("Adapter").first.click()
    page.get_by_role("option", name="other").click()
    page.locator("#labels").get_by_text(HOSTILE, exact=True).wait_for()
    page.locator("#timeline").get_by_text(HOSTILE, exact=True).wait_for()
    assert not page.locator("img[src=x]").count()
    is_clean(page)


def test_the_report_of_the_run_is_linked(served, browser_page):
    page = opened(browser_page, served)
    with page.context.expect_page() as opening:
        page.get_by_role("link", name="Report of its run").click()
    report = opening.value
    report.get_by_role("heading", level=1).wait_for()
    assert "sounds" in report.get_by_role("heading", level=1).inner_text()
    assert report.get_by_text("accuracy").count() and report.locator("img").count()
    is_clean(page)


# Beside the browser ---------------------------------------------------------------------------------


def status(served, path, body=None, **headers):
    """What the server answers to a request."""
    request = urllib.request.Request(served.url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_it_listens_on_the_loopback_alone(served):
    addresses = listening(processes_of(served.pid))
    assert addresses and all(address.is_loopback for address in addresses)


def test_no_file_of_the_server_can_be_had(served):
    adapter = served.folder / "other/adapter_config.json"
    for path in ("README.md", "other/adapter_config.json", "../README.md", str(adapter), "/etc/passwd"):
        for route in ("file=", "file/"):
            assert status(served, f"/gradio_api/{route}{path}") == 404, path
    for path in (
        "/README.md",
        "/static/../README.md",
        "/assets/..%2f..%2f..%2fREADME.md",
        "/report/7",
        "/docs",
    ):
        assert status(served, path) in (403, 404, 422), path
    assert status(served, "/report/0") == status(served, "/") == 200


def test_the_limits_hold_without_the_page(served):
    large = bytes(MAX_MB * 1_000_000 + 100_000)
    assert status(served, "/gradio_api/upload", large) == 413
    fits = MAX_MB * 1_000_000 + 10_000  # the request may be a little larger than its file, the file may not
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    body = head + bytes(fits) + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert status(served, "/gradio_api/upload", body, **kind) == 413
    assert status(served, "/", Host="evil.example") == 421
    assert status(served, "/gradio_api/queue/join", b"{}", Origin="https://evil.example") == 403
    question = {"data": ["x", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}], "fn_index": 0}
    assert status(served, "/gradio_api/queue/join", json.dumps(question).encode()) == 400
