"""What the page of ``serve`` is told, what its gate lets through, and how it begins; without a browser."""

import asyncio
import importlib.util
import inspect
import json
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ipet import hearing, serve_gate
from ipet.__main__ import main
from ipet.audio import ClipError
from ipet.checkpoint import trainable_state
from ipet.files import run_of
from ipet.heads import SpeakerHead
from ipet.hearing import load_adapters, threshold_of
from ipet.inference import Window
from ipet.saved import save_adapter
from ipet.serve import known_names, no_stubs
from ipet.serve_gate import Address, Gate, UploadFolder, address_of

from helpers import write_run, write_wav
from saving import save_backbone, tuned_model

HALF_HOUR = 1_800
GRADIO = [f"GRADIO_{name}" for name in ("TEMP_DIR", "EXAMPLES_CACHE", "ANALYTICS_ENABLED", "SHARE")]
HOSTILE = "<img src=x onerror=alert(1)> ${1+1} {{2+2}} $x$"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Adapters of a tiny AST, two of them on sounds and one on voices, and one of a tiny wav2vec 2.0."""
    top = tmp_path_factory.mktemp("adapters")
    for kind in ("ast", "wav2vec2"):
        save_backbone(kind, top / kind)
    for name, kind, method in (
        ("one", "ast", "ipet"),
        ("two", "ast", "prompt"),
        ("speech", "wav2vec2", "ipet"),
    ):
        model, description = tuned_model(top / kind, method)
        save_adapter(top / name, trainable_state(model), description)
    model, description = tuned_model(top / "ast", "ipet")
    model.head = SpeakerHead(model.backbone.width, 4)
    save_adapter(top / "voices/last", trainable_state(model), description | {"experiment": "ast_voxceleb"})
    write_wav(top / "clip.wav", 0.5, seed=1)
    write_wav(top / "long.wav", 3.0, seed=2)
    return top


@pytest.fixture(scope="module")
def loaded(folders):
    return load_adapters([str(folders / name) for name in ("one", "speech", "two", "voices/last")])


def memory_of(adapter):
    return {p.data_ptr() for p in adapter.model.model.backbone.parameters()}


# What is heard --------------------------------------------------------------------------------------


def test_a_backbone_is_held_once_for_all_its_adapters(loaded):
    one, speech, two, voices = loaded
    assert memory_of(one) & memory_of(two) and memory_of(one) & memory_of(voices)
    assert not memory_of(one) & memory_of(speech)
    assert [adapter.of_voices for adapter in loaded] == [False, False, False, True]
    assert [adapter.name for adapter in loaded] == ["one", "speech", "two", "last"]


def test_an_adapter_that_comes_twice_counts_once_and_one_that_is_missing_is_named(folders):
    assert len(load_adapters([str(folders / "one")] * 2)) == 1
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_adapters([str(folders / "one"), str(folders / "nowhere")])


@pytest.mark.parametrize("number", [0, 1])
def test_a_page_is_told_what_predict_tells(loaded, folders, number):
    model = loaded[number].model
    for name, seconds in (("clip", 0.5), ("long", 3.0)):
        heard = hearing.hear(model, folders / f"{name}.wav", HALF_HOUR, top=3)
        assert [label[:2] for label in heard.labels] == model.predict(folders / f"{name}.wav", top=3)
        assert heard.seconds == seconds and heard.heard == min(seconds, hearing.window_seconds(model))
        assert hearing.is_long(model, heard) == (name == "long")
        assert all(label.threshold is None for label in heard.labels)


def test_classes_that_may_come_together_have_thresholds(loaded, folders, monkeypatch):
    model = loaded[0].model
    monkeypatch.setattr(model, "several", True)
    monkeypatch.setattr(model, "thresholds", np.array([0.1, 0.2, 0.3, 0.4]))
    labels = hearing.hear(model, folders / "clip.wav", HALF_HOUR).labels
    assert {label.name: label.threshold for label in labels} == {f"class {i}": (i + 1) / 10 for i in range(4)}


@pytest.mark.parametrize("hz, name", [(1_000, "1,000"), (4_000, "4,000")])
def test_a_tone_is_drawn_at_its_frequency(loaded, tmp_path, hz, name):
    t = np.arange(48_000) / 16_000
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * hz * t), 16_000)
    for number in (0, 1):
        heard = hearing.hear(loaded[number].model, tmp_path / "tone.wav", HALF_HOUR)
        # the m-th triangle, from 0, has its peak m + 1 steps of 129 above the lowest frequency
        assert heard.log_mel.mean(axis=0).argmax() == pytest.approx(heard.ticks[name], abs=1.5)
        assert heard.log_mel.shape[1] == 128 and max(heard.ticks.values()) == pytest.approx(128)


def test_a_long_recording_is_drawn_in_as_many_columns(loaded):
    log_mel, _ = hearing.picture(loaded[0].model, torch.randn(16_000 * 100))
    assert 0.9 * hearing.COLUMNS < len(log_mel) <= hearing.COLUMNS


@pytest.mark.parametrize(
    "name, write, said",
    [
        ("empty.wav", lambda path: path.write_bytes(b""), "the file is empty"),
        ("broken.wav", lambda path: path.write_bytes(b"RIFF" * 99), "not readable as audio"),
        ("silent.wav", lambda path: soundfile.write(path, np.zeros(9_000), 16_000), "silent, below -60 dB"),
        ("long.wav", lambda path: write_wav(path, 13), "0.2 minutes; at most 0.2 are heard here"),
        ("gone.wav", lambda path: None, "no such file"),
    ],
)
def test_what_cannot_be_heard_is_one_line(loaded, tmp_path, name, write, said):
    write(tmp_path / name)
    with pytest.raises((ClipError, FileNotFoundError), match=said) as caught:
        hearing.hear(loaded[0].model, tmp_path / name, 12)
    assert "\n" not in str(caught.value)


def test_a_timeline_has_the_classes_that_reach_the_highest(loaded, monkeypatch):
    model = loaded[0].model
    rows = [[0.1, 0.6, 0.2, 0.1], [0.1, 0.7, 0.1, 0.1], [0.8, 0.1, 0.05, 0.05]]
    windows = [Window(i / 2, i / 2 + 1, np.array(row)) for i, row in enumerate(rows)]
    monkeypatch.setattr(hearing, "CURVES", 2)
    line = hearing.timeline(model, windows)
    assert line.middles.tolist() == [0.5, 1.0, 1.5] and line.seconds == 2
    assert {name: list(values) for name, values in line.curves.items()} == {
        "class 0": [0.1, 0.1, 0.8],
        "class 1": [0.6, 0.7, 0.1],
    }
    assert line.events == [("class 1", 0.0, 1.5, 0.7), ("class 0", 1.0, 2.0, 0.8)]


# Two voices -----------------------------------------------------------------------------------------


def test_a_voice_is_most_like_itself_and_without_trials_nothing_is_decided(loaded, folders):
    clip, other = folders / "clip.wav", folders / "long.wav"
    voices = loaded[3]
    same, else_ = (hearing.compare(voices, clip, path, HALF_HOUR) for path in (clip, other))
    assert same.score == pytest.approx(0, abs=1e-5) and else_.score < same.score <= same.highest
    assert same.same is None and else_.score == voices.model.similarity(clip, other)
    with pytest.raises(ValueError, match="one tells no voices apart; expected an adapter of speaker"):
        hearing.compare(loaded[0], clip, clip, HALF_HOUR)


def test_the_threshold_is_where_misses_and_false_alarms_of_the_run_are_equal(folders, tmp_path):
    run = tmp_path / "run"
    cell = run / "seed_1"
    # one speaker: 0.9, 0.7, 0.3; two: 0.8, 0.2, 0.1. From 0.7 on one of three is missed, one of three let in.
    trials = {"scores": np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1]), "targets": np.array([1, 0, 1, 1, 0, 0])}
    for name in ("last", "best"):
        (cell / name).mkdir(parents=True)
        for file in (folders / "voices/last").iterdir():
            (cell / name / file.name).write_bytes(file.read_bytes())
    np.savez(cell / "predictions.npz", **trials)
    (run / "arguments.json").write_text(json.dumps({"scoring": "cosine"}))
    assert threshold_of(cell / "last") == (pytest.approx(0.7), pytest.approx(1 / 3), 6)
    last, best = load_adapters([str(cell / "last"), str(cell / "best")])
    assert (last.scoring, last.run) == ("cosine", run) and best.threshold is None
    assert hearing.compare(last, folders / "clip.wav", folders / "clip.wav", HALF_HOUR).same
    (cell / "predictions.npz").write_bytes(b"PK")
    assert load_adapters([str(cell / "last")])[0].threshold is None


def test_the_run_of_an_adapter_is_above_it(tmp_path):
    run = write_run(tmp_path / "a", "ast_esc50", {})
    assert run_of(run / "seed_7/fold_1/last") == run == run_of(run) and run_of(tmp_path / "last") is None


def test_gradio_writes_no_stubs_when_it_is_imported():
    file_of, component = inspect.getfile, type("Audio", (), {"__module__": "gradio.components.audio"})
    with no_stubs():
        with pytest.raises(OSError, match="Audio"):
            inspect.getfile(component)
        assert inspect.getfile(Gate) == serve_gate.__file__
    assert inspect.getfile is file_of
    [gradio] = importlib.util.find_spec("gradio").submodule_search_locations
    asks = Path(gradio, "component_meta.py").read_text()
    assert "inspect.getfile(component_class))\n    except OSError:" in asks


# The gate -------------------------------------------------------------------------------------------

HOST = {"host": "127.0.0.1:7860", "content-type": "application/json"}
JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"


def asked(gate, method="GET", path="/", body=b"", **headers):
    """The status of an answer, and what the application behind the gate got to read; None: nothing."""
    sent, got = [], []
    headers = {**HOST, **({"content-length": str(len(body))} if method == "POST" else {}), **headers}
    scope = {"type": "http", "method": method, "path": path}
    scope["headers"] = [(k.encode(), v.encode()) for k, v in headers.items() if v is not None]

    bodies = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive():
        return next(bodies)  # once: a server waits for ever behind it

    async def send(message):
        sent.append(message)

    async def behind(scope, receive, send):
        got.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    gate.app = behind
    asyncio.run(gate(scope, receive, send))
    names = {name for name, _ in sent[0]["headers"]}
    assert {b"content-security-policy", b"x-content-type-options"} <= names
    return sent[0]["status"], got[0] if got else None


NAMES = ["localhost", "127.0.0.1", "::1", "sounds.example", "lab:8443"]


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """A folder of uploads in ``tmp_path``."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return UploadFolder()


@pytest.fixture
def gate(uploads, tmp_path):
    (uploads.path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "secret").write_text("secret")
    (uploads.path / "link").symlink_to(tmp_path / "secret")
    return Gate(None, uploads, NAMES, 1_000)


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "Sounds.Example"])
def test_the_page_is_shown_under_its_own_names(gate, host):
    assert asked(gate, host=host)[0] == 200
    assert asked(gate, "POST", JOIN, b"{}", host=host, origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[", "localhost@evil.example"]
)
def test_a_strangers_name_that_points_here_is_refused(gate, host):
    assert asked(gate, host=host) == (421, None)


def test_names_that_are_given_hold_at_every_address():
    assert known_names("127.0.0.1", ()) == {"localhost", "127.0.0.1", "::1"}
    assert known_names("0.0.0.0", ()) == set()
    assert known_names("0.0.0.0", ["lab"]) == {"localhost", "127.0.0.1", "::1", "0.0.0.0", "lab"}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://["])
def test_what_a_strangers_page_asks_is_refused(gate, origin):
    assert asked(gate, "POST", JOIN, b"{}", origin=origin) == (403, None)
    assert asked(gate, origin=origin) == (403, None)


@pytest.mark.parametrize(
    "host, origin, headers, status",
    [
        ("127.0.0.1:7860", "http://127.0.0.1:7860", {}, 200),
        ("127.0.0.1:7860", "HTTP://127.0.0.1:7860", {}, 200),
        ("localhost:8000", "http://localhost:8000", {}, 200),  # another port, by ssh -L
        ("LocalHost:7860", "http://localhost:7860", {}, 200),
        ("[::1]:7860", "http://[::1]:7860", {}, 200),
        ("localhost", "http://localhost", {}, 200),
        ("localhost:80", "http://localhost", {}, 200),  # the default port
        ("localhost", "http://localhost:80", {}, 200),
        ("127.0.0.1:7860", "http://127.0.0.1:3000", {}, 403),
        ("127.0.0.1:7860", "http://localhost:3000", {}, 403),
        ("127.0.0.1:7860", "http://localhost:7860", {}, 403),  # another page's origin to a browser
        ("127.0.0.1:7860", "http://127.0.0.1", {}, 403),
        ("127.0.0.1:7860", "https://127.0.0.1:7860", {}, 403),
        ("[::1]:7860", "http://[::1]:3000", {}, 403),
        ("127.0.0.1:7860", "null", {}, 403),
        ("127.0.0.1:7860", "", {}, 403),
        ("127.0.0.1:7860", "file://", {}, 403),
        ("127.0.0.1:7860", "chrome-extension://127.0.0.1:7860", {}, 403),
        ("127.0.0.1:7860", "http://user@127.0.0.1:7860", {}, 403),
        ("127.0.0.1:7860", "http://127.0.0.1:7860.evil.example", {}, 403),
        ("127.0.0.1:7860", "http://127.0.0.1:99999", {}, 403),
        # reverse proxies
        ("sounds.example", "https://sounds.example", {}, 200),
        ("sounds.example", "https://sounds.example", {"x-forwarded-proto": "https"}, 200),
        ("sounds.example", "http://sounds.example", {"x-forwarded-proto": "https"}, 403),
        ("sounds.example", "https://sounds.example:8443", {}, 403),
        ("lab", "https://lab:8443", {}, 403),
        ("lab:8443", "https://lab:8443", {}, 200),
        ("127.0.0.1:7860", "https://sounds.example", {}, 200),  # one that does not pass on the name
        ("127.0.0.1:7860", "https://lab:8443", {}, 200),
        ("127.0.0.1:7860", "https://lab", {}, 403),
        ("127.0.0.1:7860", "http://sounds.example:3000", {}, 403),
        ("127.0.0.1:7860", "https://evil.example", {}, 403),
    ],
)
def test_only_pages_of_the_same_scheme_host_and_port_may_ask(gate, host, origin, headers, status):
    # B9: the port was not looked at, so that any page of this machine could upload and ask
    assert asked(gate, "POST", JOIN, b"{}", host=host, origin=origin, **headers)[0] == status
    form = {"content-type": "multipart/form-data; boundary=x", "host": host, "origin": origin, **headers}
    assert asked(gate, "POST", UPLOAD, b"x", **form)[0] == status


@pytest.mark.parametrize(
    "kind, site, status",
    [
        ("application/json", None, 200),  # a program's: a page would have to ask before
        ("multipart/form-data; boundary=x", None, 403),
        ("text/plain;charset=UTF-8", None, 403),
        (None, None, 403),
        ("multipart/form-data; boundary=x", "same-origin", 200),
        ("multipart/form-data; boundary=x", "same-site", 403),  # another port
        ("application/json", "cross-site", 403),
    ],
)
def test_form_without_an_origin_is_refused(gate, kind, site, status):
    # B9
    headers = {"content-type": kind, "sec-fetch-site": site}
    assert asked(gate, "POST", UPLOAD, b"x", **headers)[0] == status
    assert asked(gate, "GET", "/", **headers)[0] == 200  # a link on another site to the page


def test_without_names_any_host_may_ask_for_itself_alone(uploads):
    # B9: -host 0.0.0.0
    gate = Gate(None, uploads, (), 1_000)
    for host, origin, status in (
        ("10.0.0.1:7860", "http://10.0.0.1:7860", 200),
        ("10.0.0.1:7860", "http://10.0.0.1", 403),
        ("10.0.0.1:7860", "http://10.0.0.1:80", 403),
        ("[fe80::1]:7860", "http://[FE80::1]:7860", 200),
        ("user@10.0.0.1:7860", "http://10.0.0.1:7860", 421),
        ("", "http://10.0.0.1:7860", 421),
    ):
        assert asked(gate, "POST", JOIN, b"{}", host=host, origin=origin)[0] == status, (host, origin)


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/gradio_api/proxy=http://127.0.0.1:22"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/file/README.md"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/call/hear"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/monitoring"),
        ("POST", "/report/0"),
        ("PUT", "/"),
        ("DELETE", "/"),
    ],
)
def test_what_the_page_does_not_use_is_closed(gate, method, path):
    assert asked(gate, method, path) == (404, None)


def test_no_file_but_an_upload_is_sent(gate):
    assert asked(gate, path=f"/gradio_api/file={gate.folder}/a.wav")[0] == 200
    named = ("../secret", "link", "", "..", "gone", "a\0")
    for path in (
        *(f"{gate.folder}/{name}" for name in named),
        "README.md",
        "http://example.com/",
        "x" * 9_999,
    ):
        assert asked(gate, path=f"/gradio_api/file={path}") == (404, None), path


def test_a_question_names_uploads_alone(gate, tmp_path):
    def question(path):
        return json.dumps({"data": ["one", {"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode()

    body = question(f"{gate.folder}/a.wav")
    assert asked(gate, "POST", JOIN, body) == (200, body)
    assert asked(gate, "POST", JOIN, question(None))[0] == 200
    for path in (
        f"{tmp_path}/secret",
        f"{gate.folder}/link",
        "/etc/passwd",
        "http://example.com/a.wav",
        7,
        {},
    ):
        assert asked(gate, "POST", JOIN, question(path)) == (400, None), path
    for body in (b"", b"{", b"[" * 200_000, b"\xff"):
        assert asked(gate, "POST", JOIN, body) == (400, None)


def test_sizes_are_limited(gate):
    assert asked(gate, "POST", UPLOAD, b"x" * 1_000)[0] == 200
    for length, status in (("2000000", 413), (None, 411), ("-1", 411), ("1e3", 411)):
        assert asked(gate, "POST", UPLOAD, b"", **{"content-length": length}) == (status, None)
    assert asked(gate, "POST", JOIN, b" " * (2 << 20)) == (413, None)
    (gate.folder / "many").write_bytes(bytes(16_000))
    assert asked(gate, "POST", UPLOAD, b"x") == (503, None)


def test_a_length_that_another_contradicts_is_refused(gate):
    both = {"content-length": "2", "transfer-encoding": "chunked"}
    for path in (UPLOAD, "/gradio_api/queue/join"):
        assert asked(gate, "POST", path, b"{}", **both) == (411, None)


def test_uploads_on_their_way_count(gate):
    gate.coming = 16 * 1_000 - 10
    assert asked(gate, "POST", UPLOAD, b"x" * 100)[0] == 503
    gate.coming = 0
    assert asked(gate, "POST", UPLOAD, b"x" * 100)[0] == 200
    assert gate.coming == 0


def test_size_check_deletes_nothing(gate, monkeypatch):
    # B1: it deleted every file in its folder that was older than ten minutes
    monkeypatch.setattr(serve_gate, "KEPT_SECONDS", -1)
    (gate.folder / "deep").mkdir()
    (gate.folder / "deep/other").write_bytes(bytes(500))
    before = gate.uploads.files()
    assert gate.uploads.num_bytes() == 4 + 500 + (gate.folder / "link").lstat().st_size
    gate.check_size(UPLOAD, {"content-length": "9"})
    assert asked(gate, "POST", UPLOAD, b"x")[0] == 200
    assert gate.uploads.files() == before


def test_folder_that_this_process_did_not_create_is_refused(tmp_path):
    # B1: an application around it, or a test, gave its own
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not created for uploads by this process; expected an UploadFolder"):
        Gate(None, tmp_path, NAMES, 1_000)
    assert (tmp_path / "thesis.tex").exists()


def test_only_uploads_that_were_recorded_expire(gate, monkeypatch):
    # B1
    def upload(name):
        with gate.uploads.recording():
            (gate.folder / name).write_bytes(bytes(16_000))
        return gate.folder / name

    kept = gate.folder / "not_recorded"
    kept.write_bytes(b"x")
    cut_off = upload("cut_off")
    assert asked(gate, "POST", UPLOAD, b"x")[0] == 503  # it is not old
    replaced = upload("replaced")
    replaced.rename(gate.folder / "aside")
    replaced.write_bytes(b"another file, of the same name")
    monkeypatch.setattr(serve_gate, "KEPT_SECONDS", -1)
    assert asked(gate, "POST", UPLOAD, b"x")[0] == 503  # of what was moved
    assert not cut_off.exists() and kept.exists() and replaced.exists()
    assert not gate.uploads.recorded


def test_upload_that_is_cut_off_is_recorded(gate, monkeypatch):
    # B1: Gradio forgets it
    async def cut_off(scope, receive, send):
        (gate.folder / "tmp_part").write_bytes(b"half")
        raise ConnectionResetError

    async def nothing(*_):
        return {"type": "http.disconnect"}

    gate.app = cut_off
    headers = [(b"host", b"127.0.0.1:7860"), (b"content-length", b"9"), (b"origin", b"http://127.0.0.1:7860")]
    scope = {"type": "http", "method": "POST", "path": UPLOAD, "headers": headers}
    with pytest.raises(ConnectionResetError):
        asyncio.run(gate(scope, nothing, nothing))
    assert [Path(path).name for path in gate.uploads.recorded] == ["tmp_part"]
    gate.uploads.remove_expired(600)
    assert (gate.folder / "tmp_part").exists()
    gate.uploads.remove_expired(-1)
    assert not (gate.folder / "tmp_part").exists()


def test_a_web_socket_is_closed(gate):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(gate({"type": "websocket", "path": "/"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_an_address_is_read_whole_or_not_at_all():
    assert address_of("http://A.b:1") == ("http", "a.b", 1)
    assert address_of("https://a.b") == ("https", "a.b", 443)
    assert address_of("//[::1]:2") == ("", "::1", 2) and address_of("//::1") == ("", "::1", None)
    for url in ("null", "", "http://[", "http://a:b", "http://u@a", "http://a/path", "http://a:99999"):
        assert address_of(url) == Address(), url


# The page, without a browser ------------------------------------------------------------------------


@pytest.fixture
def page(loaded, folders):
    pytest.importorskip("gradio", reason="the page needs Gradio")
    from ipet.serve_page import Page

    return Page(loaded, folders, HALF_HOUR, 20, {"one": "/report/0"})


def test_an_answer_comes_before_its_timeline(page, folders):
    answers = list(page.hear("one", str(folders / "long.wav")))
    assert [[bool(part) for part in answer] for answer in answers] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert answers[1][:2] == answers[2][:2]
    assert "class 0" in answers[0][0] and "data:image/png" in answers[1][1]
    from ipet.serve_page import NOTHING

    assert len(list(page.hear("one", str(folders / "clip.wav")))) == 2
    assert list(page.hear("one", None)) == [NOTHING]


def test_an_error_tells_the_recordings_name_and_no_folder(page, folders):
    (folders / "a b.wav").write_bytes(b"no sound")
    [(said, picture, line)] = page.hear("one", str(folders / "a b.wav"))
    assert 'role="alert">a b.wav: not readable' in said and str(folders) not in said and not picture + line
    said = page.compare("last", str(folders / "clip.wav"), str(folders / "a b.wav"))
    assert "a b.wav: not readable" in said and str(folders) not in said
    [(said, *_)] = page.hear("nothing", str(folders / "clip.wav"))
    assert "no adapter of that name" in said and page.compare("last", None, "x") == ""


def test_the_text_of_strangers_stays_text(page, folders, loaded, monkeypatch):
    monkeypatch.setattr(loaded[0].model, "labels", (HOSTILE,) * 4)
    (folders / "<b>.wav").write_bytes(b"no sound")
    *_, (labels, _, line) = page.hear("one", str(folders / "long.wav"))
    for part in (labels, line):
        assert "&lt;img src=x onerror=alert(1)&gt; ${1+1} {{2+2}} $x$" in part and "<img src=x" not in part
    [(said, *_)] = page.hear("one", str(folders / "<b>.wav"))
    assert "&lt;b&gt;.wav: not readable" in said
    assert "/report/0" in page.about("one") and "/report" not in page.about("two")


def test_without_a_threshold_the_page_says_so(page, folders, loaded, monkeypatch):
    clip = str(folders / "clip.wav")
    assert "No threshold is known" in page.compare("last", clip, clip)
    monkeypatch.setattr(loaded[3], "threshold", hearing.Threshold(-0.5, 0.031, 37_720))
    said = page.compare("last", clip, clip)
    assert "Probably one speaker" in said and "3.1 % each, on the 37,720 trials" in said


def test_what_was_sent_is_removed_after_its_time(loaded, monkeypatch):
    pytest.importorskip("gradio", reason="the page needs Gradio")
    from starlette.testclient import TestClient

    from ipet import serve, serve_page

    for name in GRADIO:
        monkeypatch.setenv(name, "")  # which it sets, and which are put back
    monkeypatch.setattr(serve_page, "EACH_SECONDS", 1)
    monkeypatch.setattr(serve_page, "KEPT_SECONDS", 1)
    with serve.uploads() as uploads:
        folder = uploads.path
        app = serve.application(loaded[:1], uploads, "127.0.0.1", (), 1, 1, 2, False)
        with TestClient(app, base_url="http://127.0.0.1") as client:
            own = {"origin": "http://127.0.0.1"}
            sound = {"files": ("a.wav", b"sound")}
            [path] = client.post("/gradio_api/upload", files=sound, headers=own).json()
            assert folder in Path(path).parents and Path(path).read_bytes() == b"sound"
            assert client.get(f"/gradio_api/file={path}").content == b"sound"
            end = time.monotonic() + 20
            while Path(path).exists() and time.monotonic() < end:
                time.sleep(0.1)
            assert not Path(path).exists()
    assert not folder.exists()


# The command ----------------------------------------------------------------------------------------


def test_without_gradio_one_line_says_what_to_install(folders, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["serve", str(folders / "one"), "-port", "0"]) == 1
    assert capsys.readouterr().err == "error: gradio is not installed: python3 -m pip install gradio\n"


def test_a_port_that_is_taken_is_one_line(folders, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", str(folders / "one"), "-port", str(port)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"error: -host 127.0.0.1 -port {port}: " in said and "in use" in said


@pytest.mark.parametrize("flags", [["-port", "70000"], ["-max_mb", "0"], ["-queue", "0"], []])
def test_flags_are_checked(folders, flags, capsys):
    with pytest.raises(SystemExit):
        main(["serve", *([str(folders / "one")] if flags else []), *flags])
    assert capsys.readouterr().err.count("\n") == 1


def test_an_adapter_that_cannot_be_read_ends_it_and_leaves_nothing(folders, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gradio", reason="the page needs Gradio")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in GRADIO:
        monkeypatch.setenv(name, "")  # which it sets, and which are put back
    assert main(["serve", str(folders / "nowhere"), "-port", "0"]) == 1
    assert "nowhere" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_another_address_is_told_with_what_it_shows():
    from ipet.serve import address, exposed

    assert "warning: -host 0.0.0.0: everybody who reaches this machine" in exposed("0.0.0.0")
    assert address("0.0.0.0", 80) == "http://127.0.0.1:80" and address("::1", 1) == "http://[::1]:1"


def test_a_report_stands_alone_and_one_that_cannot_be_made_says_why(tmp_path):
    from ipet.serve import report_of

    run = write_run(tmp_path / "first", "ast_esc50", {})
    assert "ast_esc50: first" in report_of(run) and "No cell is finished" in report_of(run)
    (run / "arguments.json").write_text("{")
    said = report_of(run)
    assert "No report" in said and "arguments.json" in said
