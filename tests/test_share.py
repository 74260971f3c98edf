"""An adapter's card, and its way to a hub and back; the hub is a small server on this machine."""

import base64
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
import soundfile

import ipet
from ipet.__main__ import main
from ipet.backbones.wav2vec2 import build_wav2vec2, save_backbone
from ipet.share import push, write_card

from helpers import run_here, tiny, write_lists
from saving import formerly

HUB_ID = "somebody/words"
COMMIT = "1" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as pushing small files and fetching them takes."""

    files: ClassVar[dict[str, bytes]] = {}
    made: ClassVar[list[dict]] = []

    def answer(self, body, status=200, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def url(self):
        return f"http://{self.headers['Host']}/{HUB_ID}"

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/repos/create":
            self.made.append(json.loads(sent))
            self.answer({"url": self.url(), "id": HUB_ID, "name": HUB_ID})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == f"/api/models/{HUB_ID}/preupload/main":
            asked = json.loads(sent)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            self.answer({"files": modes})
        elif self.path == f"/api/models/{HUB_ID}/commit/main":
            for line in map(json.loads, sent.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"{self.url()}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.answer({"error": "no such address"}, 404)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{HUB_ID}/revision/") and not path.endswith("/other"):
            self.answer({"id": HUB_ID, "sha": COMMIT, "siblings": [{"rfilename": n} for n in self.files]})
        elif path.startswith(f"/api/models/{HUB_ID}/tree/"):
            sizes = {name: len(data) for name, data in self.files.items()}
            self.answer([{"type": "file", "path": n, "size": s, "oid": COMMIT} for n, s in sizes.items()])
        elif path.startswith(f"/{HUB_ID}/resolve/"):
            data = self.files[path.rpartition("/")[2]]
            self.answer(data, ETag=f'"{hash(data)}"', X_Repo_Commit=COMMIT)
        else:
            self.answer({"error": "no such address"}, 404)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The server, as huggingface_hub's endpoint in this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    Hub.files, Hub.made = {}, []
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """The best epoch of a run of seconds."""
    folder = tmp_path_factory.mktemp("share")
    save_backbone(build_wav2vec2("tiny"), folder / "backbone")
    lists = write_lists(folder / "lists", train=8, valid=5, test=7)
    flags = ["-frame_length", 40, "-epoch", 1, "-batch_size", 4, "-pretrained", folder / "backbone"]
    flags = tiny(lists, folder / "runs", *flags)
    return run_here("w2v_speechcommands", *flags) / "seed_1234/best"


@pytest.fixture
def copied(adapter, tmp_path):
    """The run's cell, to be changed."""
    shutil.copytree(adapter.parent, tmp_path / "cell")
    return tmp_path / "cell/best"


def test_what_is_pushed_is_fetched_and_answers_alike(hub, copied, capsys, tmp_path):
    (copied / "secrets.txt").write_text("not for others")
    assert main(["push", str(copied), HUB_ID]) == 0
    assert capsys.readouterr().out.strip().endswith(f"/{HUB_ID}/commit/{COMMIT}")
    assert sorted(hub.files) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert hub.made[0]["visibility"] == "private" and hub.made[0]["name"] == "words"
    waveform = 0.1 * np.random.default_rng(0).standard_normal(8_000)
    soundfile.write(tmp_path / "a.wav", waveform, 16_000)
    here, there = (ipet.load(name).predict(tmp_path / "a.wav") for name in (copied, f"{HUB_ID}@main"))
    assert here == there
    with pytest.raises(FileNotFoundError, match="somebody/words@other: no such folder here, and the Hugg"):
        ipet.load(f"{HUB_ID}@other")


def test_the_card_says_what_was_measured(copied):
    result = json.loads((copied.parent / "result.json").read_text())
    text = write_card(copied, HUB_ID).read_text()
    assert text.startswith("---\nlibrary_name: ipet\n") and "base_model" not in text  # a local folder
    accuracy = 100 * result["test_at_best_epoch"]["test_accuracy"]
    assert f"| test accuracy | {accuracy:.2f} % |" in text
    low, high = (100 * bound for bound in result["interval"]["test_at_best_epoch"])
    assert f"95 % interval of the accuracy: {low:.2f} - {high:.2f} %." in text
    assert "| task | 4 classes, one a clip: class 0, class 1, class 2, class 3 |" in text
    assert "calibrated on the validation list" in text and 'ipet.load("somebody/words")' in text
    assert f"| trained parameters | {result['trainable_parameters']:,}, " in text


def test_an_edited_card_is_kept(hub, copied, capsys):
    assert main(["push", str(copied), HUB_ID, "-card"]) == 0
    assert not hub.files and "edit it, then push" in capsys.readouterr().out
    (copied / "README.md").write_text("mine")
    assert main(["push", str(copied), HUB_ID, "-public"]) == 0
    assert hub.files["README.md"] == b"mine" and hub.made[0]["visibility"] == "public"


def test_an_adapter_of_the_first_version_is_pushed_as_one_of_today_and_fetched_as_it_is(hub, copied):
    first = copied.with_name("first")
    shutil.copytree(copied, first)
    formerly(first)
    files = {path.name: path.read_bytes() for path in first.iterdir()}
    push(first, HUB_ID)
    today = {
        name: (copied / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors")
    }
    assert hub.files.items() >= today.items() and len(hub.files) == 3
    assert {name: (first / name).read_bytes() for name in files} == files
    Hub.files = files
    assert ipet.load(HUB_ID).labels == ipet.load(copied).labels


def test_a_folder_of_save_tuned_is_not_pushed(hub, copied):
    (copied / "README.md").write_text("mine")
    config = json.loads((copied / "adapter_config.json").read_text())
    (copied / "adapter_config.json").write_text(json.dumps({**config, "kind": "tuned"}))
    with pytest.raises(ValueError, match=r"ipet\.save_tuned wrote it; it is read by ipet\.load_tuned"):
        push(copied, HUB_ID)
    assert not hub.made


def test_what_cannot_be_pushed_is_one_line(hub, copied, tmp_path, capsys):
    assert main(["push", str(tmp_path / "nothing"), HUB_ID]) == 1
    assert "nothing/adapter_config.json: no such file" in capsys.readouterr().err
    assert main(["push", str(copied), "somebody/other"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: somebody/other: the Hugging Face hub did not take it: ")
    assert error.count("\n") == 1
    (copied / "README.md").unlink()
    config = json.loads((copied / "adapter_config.json").read_text())
    del config["metrics"]
    (copied / "adapter_config.json").write_text(json.dumps(config))
    assert main(["push", str(copied), HUB_ID]) == 1
    assert "does not describe an adapter (KeyError" in capsys.readouterr().err
