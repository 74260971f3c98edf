"""Inputs that are broken, odd or hostile, and what becomes of each: the table that test_malformed.py runs.

``python3 -m tests.test_malformed`` prints it as docs/bad_input.md.

A row's outcome is part of the one line that is said, ``...`` standing for what differs from case to case; or
``fine`` and what is read.
"""

import os

import numpy as np
import torch

from malformed_tables import OWN
from spoiling import (
    HOUR,
    JSON,
    RATE,
    TENSORS,
    Row,
    absolute,
    absolute_twice,
    bomb,
    claiming,
    clip,
    cut,
    cut_weights,
    data,
    earlier,
    entry,
    forged,
    gone,
    half,
    header,
    hour,
    leaving,
    link,
    linked,
    locked,
    odd,
    outside,
    said,
    samples,
    saved,
    tensors,
    text,
    trap,
    trials,
    written,
)

# Recordings: make(path) writes one -----------------------------------------------------------------


READABLE = "not readable as audio"
CLIP = "wav/train_1_3"
DECODED = "when it is decoded"
RECORDINGS = [
    Row("a file that is not there", lambda path: None, "no such file"),
    Row("an empty file", data(b""), "the file is empty (0 bytes); expected"),
    Row("a folder", lambda path: path.mkdir(), "not a file"),
    Row("a pipe", os.mkfifo, "not a file"),
    Row("a link to a device", link("/dev/zero"), "not a file"),
    Row("a link to nowhere", link("gone.wav"), "a link to nowhere"),
    Row("links in a circle", link("train_1_3.wav"), "Too many levels of symbolic links; expected"),
    Row("a file that may not be read", locked, "Permission denied; expected"),
    Row("a name of 300 letters", lambda path: None, "File name too long; expected", f"wav/{300 * 'a'}.wav"),
    Row("WAV: 20 bytes of its header", cut(0.0016), READABLE),
    Row(
        "WAV: half of its samples",
        cut(0.5),
        "truncated, its header promises ... bytes of audio, ... are there",
    ),
    Row("FLAC: half of it", cut(0.5), "truncated or damaged, the decoder stopped", f"{CLIP}.flac", DECODED),
    Row("OGG: half of it", cut(0.5), "truncated, its last page of Ogg is cut off", f"{CLIP}.ogg"),
    Row("MP3: half of it", cut(0.5), "truncated, its header promises", f"{CLIP}.mp3"),
    Row("WAV: a header alone", samples([]), "holds 0 samples; a clip needs at least 1"),
    Row("WAV: 0 channels", forged(22, "<H", 0), f"{READABLE}: ... Channel count is zero"),
    Row("WAV: 65,535 channels", forged(22, "<H", 65_535), f"{READABLE}: ... Too many channels"),
    Row("WAV: 0 bits a sample", forged(34, "<H", 0), READABLE),
    Row("WAV: 0 Hz", forged(24, "<I", 0), READABLE),
    Row("WAV: 1 Hz", forged(24, "<I", 1), "a sample rate of 1 Hz; expected 1,000 to 768,000 Hz"),
    Row("WAV: 2 GHz", forged(24, "<I", 2**31 - 1), "a sample rate of 2,147,483,647 Hz; expected 1,000 to"),
    Row("WAV: a length of 1.9 GB", forged(40, "<I", 0x70000000), "truncated, its header promises 1879048192"),
    Row(
        "FLAC: a length of 2^36 samples",
        claiming(2**36 - 2),
        "its header claims 68,719,476,734 samples, which ... bytes cannot hold",
        f"{CLIP}.flac",
    ),
    Row("FLAC: no length", claiming(0), "fine: 6,400 samples", f"{CLIP}.flac"),
    Row("FLAC: a minute too much", claiming(60 * RATE), "truncated, its header", f"{CLIP}.flac", DECODED),
    Row("a sample is NaN", odd(np.nan), "holds NaN or infinite samples", when=DECODED),
    Row("a sample is infinite", odd(np.inf), "holds NaN or infinite samples", when=DECODED),
    Row(
        "one sample at 44.1 kHz",
        samples([0.5], 44_100),
        "too short, no sample is left at 16000 Hz",
        when=DECODED,
    ),
    Row("a web page", data(b"<html>404</html>" * 50), READABLE),
    Row("a pointer of git-lfs", data(b"version https://git-lfs.github.com/spec/v1\noid sha256:"), READABLE),
    Row("zeros", data(bytes(5_000)), READABLE),
    Row("samples without a header", data(bytes(5_000)), ".raw has no header that tells", f"{CLIP}.raw"),
    Row(
        "a web page that is called .au",
        data(b"<html>404</html>" * 50),
        "no header states its format",
        f"{CLIP}.au",
    ),
    Row("WAV of a stream, 4 GiB long by its header", forged(40, "<I", 0xFFFFFFFF), "fine: 6,400 samples"),
    Row(
        "WAV: an interrupted recording, of length 0 by its header", forged(40, "<I", 0), "fine: 6,400 samples"
    ),
    Row("WAV: a length of 100 bytes", forged(40, "<I", 100), "fine: 6,400 samples"),
    Row("8 kHz", written(rate=8_000), "fine: 6,400 samples"),
    Row("96 kHz", written(rate=96_000), "fine: 6,400 samples"),
    Row("24 bits", written(subtype="PCM_24"), "fine: 6,400 samples"),
    Row("8 bits", written(subtype="PCM_U8"), "fine: 6,400 samples"),
    Row(
        "floating point, louder than full scale",
        samples(np.full(900, 9.0), subtype="FLOAT"),
        "fine: 900 samples",
    ),
    Row("6 channels", written(channels=6), "fine: 6,400 samples"),
    Row("constant", samples(np.full(6_400, 0.25)), "fine: 6,400 samples"),
    Row("one sample at 16 kHz", samples([0.5]), "fine: 1 sample"),
    Row("an hour of silence", hour, f"fine: {HOUR:,} samples"),
    Row("FLAC that is called .wav", written(format="FLAC"), "fine: 6,400 samples"),
    Row("WAV that is called .mp3", written(format="WAV"), "fine: 6,400 samples", f"{CLIP}.mp3"),
    Row("spaces and letters of the world", written(), "fine: 6,400 samples", "wav/Säge 鋸  3 .wav"),
]


# Lists: make(folder) edits one ----------------------------------------------------------------------


HELD = "holds the control character"
HEAD = "index,mid,display_name\n"
EXPECTED = 'expected {"data": [{"wav": ..., "labels": ...}, ...]} with a clip'
LISTS = [
    Row(
        "no list", gone("train_1.json"), "lists: no train_1.json, 0 folds are there; expected the 1 of -fold"
    ),
    Row("no list to evaluate on", gone("eval_1.json"), "eval_1.json: no such list of clips"),
    Row("not JSON", text('{"data": [}'), "train_1.json: not JSON: Expecting value: line 1 column 11"),
    Row("an empty file", text(""), "train_1.json: not JSON: Expecting value"),
    Row("not UTF-8", text(b'{"data": "\xff"}'), "train_1.json: not JSON: 'utf-8' codec can't decode"),
    Row(
        "brackets in brackets, 100,000 deep", text("[" * 100_000), "train_1.json: not JSON: maximum recursion"
    ),
    Row("a number of 10,000 digits", text("1" * 10_000), "train_1.json: not JSON: Exceeds the limit"),
    Row("a list of paths", text('["a.wav"]'), f"train_1.json: {EXPECTED}"),
    Row("no clip", text('{"data": []}'), f"train_1.json: {EXPECTED}"),
    Row("a clip that is a path", clip("a.wav"), "train_1.json: clip 3 lacks 'wav'; found \"a.wav\""),
    Row("a clip without a path", entry(wav=None), "train_1.json: clip 3 lacks 'wav'; found {"),
    Row("a clip without a label", entry(labels=None), "train_1.json: clip 3 lacks 'labels'; found {"),
    Row("an empty label", entry(labels=""), "train_1.json: clip 3 (... has no label, as 1 of 13 clips"),
    Row("a part of a recording", entry(start=0.1, end=0.2), "fine: 13 clips"),
    Row("a part outside its recording", entry(start=30), "clip 3: ... [30 to end] is outside its recording"),
    Row(
        "an end before its start", entry(start=0.2, end=0.1), "train_1.json: clip 3: ends at 0.1 s and starts"
    ),
    Row(
        "a time that is a text",
        entry(start="0.1"),
        "clip 3: 'start' is \"0.1\"; expected seconds of at least 0",
    ),
    Row("a label that is a number", entry(labels=3), "train_1.json: clip 3 lacks 'labels'; found {"),
    Row(
        "an unknown label",
        entry(labels="/m/99"),
        "train_1.json: clip 3 (wav/train_1_3.wav) has label '/m/99', which is not among the 4 labels of",
    ),
    Row("a comma too much", entry(labels="/m/00,"), "clip 3 (wav/train_1_3.wav) has label '', which is not"),
    Row("a clip twice", entry(wav="wav/train_1_2.wav"), "train_1.json: clips 2 and 3 are both ... once"),
    Row(
        "a clip twice, spelt twice", entry(wav="wav/../wav/train_1_2.wav"), "clips 2 and 3 are both ... once"
    ),
    Row("a clip twice, once absolute", absolute_twice, "train_1.json: clips 2 and 3 are both ... once"),
    Row(
        "a clip in training and test",
        entry(wav="wav/eval_1_2.wav"),
        "eval_1.json: clip 2: ... is also ... train_1.json: clip 3: 1 clips are in both lists",
    ),
    Row("a relative path out of the data's folder", leaving, "clip 3: ../elsewhere.wav leaves ... expected"),
    Row("the same, hidden", entry(wav="wav/../../elsewhere.wav"), "clip 3: wav/../../elsewhere.wav leaves"),
    Row("a NUL in a path", entry(wav="wav/a\0.wav"), f"train_1.json: clip 3: 'wav' {HELD} \\x00; expected"),
    Row("a line's end in a path", entry(wav="a\nb.wav"), f"train_1.json: clip 3: 'wav' {HELD} \\n; expected"),
    Row("an escape sequence in a label", entry(labels="\x1b[2J"), f"clip 3: 'labels' {HELD} \\x1b; expected"),
    Row("half a pair of surrogates", entry(wav="\ud800.wav"), f"clip 3: 'wav' {HELD} \\ud800; expected"),
    Row("an absolute path among relative ones", absolute, "fine: 13 clips"),
    Row("an absolute path outside the data's folder", outside, "fine: 13 clips"),
    Row("a link in place of the recordings' folder", linked, "fine: 13 clips"),
    Row("labels: no table", gone("labels.csv"), "labels.csv: no such label table; expected a CSV with"),
    Row(
        "labels: an empty table", text("", "labels.csv"), "labels.csv: column 'index' is missing; found None"
    ),
    Row("labels: no class", text(HEAD, "labels.csv"), "labels.csv: names no label; expected one a line"),
    Row(
        "labels: semicolons",
        text("index;mid;display_name\n", "labels.csv"),
        "column 'index' is missing; found",
    ),
    Row(
        "labels: a gap",
        text(f"{HEAD}0,/m/00,a\n2,/m/02,b\n", "labels.csv"),
        "line 3 has index '2', expected 1",
    ),
    Row(
        "labels: an id twice", text(f"{HEAD}0,/m/0,a\n1,/m/0,b\n", "labels.csv"), "label '/m/0' comes 2 times"
    ),
    Row("labels: no name", text(f"{HEAD}0,/m/00,\n", "labels.csv"), "labels.csv: line 2 has no display_name"),
    Row(
        "labels: Latin-1",
        text(f"{HEAD}0,/m/0,".encode() + b"\xe4", "labels.csv"),
        "labels.csv: not UTF-8 text",
    ),
    Row(
        "labels: a field of 200 kB",
        text(f"{HEAD}0,/m/0,{200_000 * 'a'}\n", "labels.csv"),
        "labels.csv: line 2: field larger than field limit (131072); expected index, mid, display_name",
    ),
    Row(
        "labels: an escape sequence",
        text(f"{HEAD}0,/m/00,\x1b[31mdog\n", "labels.csv"),
        f"labels.csv: line 2: display_name {HELD} \\x1b; expected text in one line",
    ),
]


A, B = "lists/wav/test_0.wav", "lists/wav/test_1.wav"
TRIALS = [
    Row("no list", gone("trials.txt"), "trials.txt: no such list of trials; python3 data/prepare.py"),
    Row("no trial", trials("", " "), "trials.txt: holds no trial; expected '1 utterance utterance'"),
    Row("not text", text(b"RIFF\xff\xfe", "trials.txt"), "trials.txt: not UTF-8 text"),
    Row("one utterance", trials(f"1 {A} {B}", f"0 {A}"), f"trials.txt: line 2 is '0 {A}'; expected"),
    Row("a score", trials(f"1 {A} {B} 0.7"), f"trials.txt: line 1 is '1 {A} {B} 0.7'; expected"),
    Row("neither 1 nor 0", trials(f"yes {A} {B}"), f"trials.txt: line 1 is 'yes {A} {B}'; expected"),
    Row(
        "targets alone",
        trials(f"1 {A} {B}"),
        "trials.txt: 1 of the 1 trials are targets; expected targets and",
    ),
    Row(
        "an unknown utterance",
        trials(f"1 {A} {B}", f"0 {A} lists/wav/x.wav"),
        "trials.txt: line 2 names utterance lists/wav/x.wav, which is not in the list of clips; 1 of the 3",
    ),
    Row("an escape sequence", trials(f"1 {A} \x1b]0;{B}"), f"trials.txt: line 1 {HELD} \\x1b; expected text"),
    Row("target and nontarget", trials(f"target {A} {B}", f"nontarget {B} {A}"), "fine: 2 trials"),
]

# Command lines --------------------------------------------------------------------------------------

WHOLE = "is not a whole number at least 1, at most"
ARGUMENTS = [
    Row("no name", ["-name="], "argument -name: '' cannot be a folder's name"),
    Row("a name out of the folder", ["-name", "../x"], "argument -name: '../x' cannot be a folder's name"),
    Row("a name in two lines", ["-name", "a\nb"], "argument -name: 'a\\nb' cannot be a folder's name"),
    Row(
        "an unknown flag",
        ["-embeding_prompt_num", "4"],
        "unknown argument '-embeding_prompt_num'; did you mean",
    ),
    Row("a shortened flag", ["-epo", "3"], "unknown argument '-epo'; did you mean '-epoch'?"),
    Row("no prompt", ["-embedding_prompt_num", "0"], f"argument -embedding_prompt_num: '0' {WHOLE} 10000"),
    Row("-4 prompts", ["-embedding_prompt_num", "-4"], f"argument -embedding_prompt_num: '-4' {WHOLE} 10000"),
    Row("10^6 prompts", ["-embedding_prompt_num", "1000000"], f"'1000000' {WHOLE} 10000"),
    Row(
        "a bottleneck of 0", ["-adapter_hidden_dim", "0"], f"argument -adapter_hidden_dim: '0' {WHOLE} 16384"
    ),
    Row("a bottleneck of 10^6", ["-adapter_hidden_dim", "1000000"], f"'1000000' {WHOLE} 16384"),
    Row(
        "10^400 epochs",
        ["-epoch", "1" + 400 * "0"],
        f"argument -epoch: '{'1' + 39 * '0'}' {WHOLE} 1000000000",
    ),
    Row("half an epoch", ["-epoch", "0.5"], f"argument -epoch: '0.5' {WHOLE} 1000000000"),
    Row("a learning rate of NaN", ["-lr", "nan"], "argument -lr: 'nan' is not a number above 0"),
    Row("a share of 1.5", ["-mixup", "1.5"], "argument -mixup: '1.5' is not a number at least 0, at most 1"),
    Row("an unknown method", ["-method", "magic"], "argument -method: invalid choice: 'magic' (choose from"),
    Row(
        "an unknown logger",
        ["-logger", "fax"],
        "argument -logger: unknown logger 'fax'; accepted: tensorboard",
    ),
    Row("a seed twice", ["-seed", "1", "1"], "-seed 1 1: each seed once, please"),
    Row("two thirds of a GPU", ["-usable_gpu", "0.66"], "'0.66' is not a list of GPU numbers such as 0,1"),
    Row("a waiting time of 2 million years", ["-timeout", "1e12"], "'1e12' is not a number above 0, at most"),
    Row("no fold", ["-fold", "0"], "-fold 0: this experiment has folds; at least 1 is needed"),
    Row(
        "folds that are not there",
        ["-fold", "5"],
        "lists: no train_2.json, 1 folds are there; expected the 5",
    ),
    Row("lists that are not there", ["-path_list", "/nowhere"], "/nowhere/labels.csv: no such label table"),
    Row("data that are not there", ["-path_data", "/nowhere"], "no such file; is -path_data the folder"),
]


# Adapters: make(folder) edits one -------------------------------------------------------------------


DAMAGED = "damaged, or no file of tensors alone"
FEWER = [{"mid": "/m/00", "name": "class 0"}]
ADAPTERS = [
    Row("no description", gone(JSON), "adapter_config.json: no such file"),
    Row("no tensors", gone(TENSORS), "adapter_model.safetensors: no such file"),
    Row(
        "a description that is not JSON",
        text("{", JSON),
        "adapter_config.json: not JSON: Expecting property name",
    ),
    Row(
        "a description of a later version",
        said(None, schema=99),
        "adapter_config.json: schema 99; this version reads 1 and 2",
    ),
    Row("a description of nothing", text("[]", JSON), "adapter_config.json: schema None; this version reads"),
    Row(
        "an adapter of PEFT's own",
        text('{"peft_type": "LORA", "r": 8}', JSON),
        "adapter_config.json: peft_type is 'LORA'; expected 'IPET'",
    ),
    Row(
        "a folder of ipet.save_tuned",
        said(None, kind="tuned"),
        "adapter_config.json: ipet.save_tuned wrote it; it is read by ipet.load_tuned(model, folder)",
    ),
    Row("a kind that is a list", said(None, kind=["run"]), "kind is ['run']; expected 'run' or 'tuned'"),
    Row(
        "an unknown method",
        said("tuning", method="magic"),
        "adapter_config.json: the method is 'magic'; accepted:",
    ),
    Row(
        "10^12 prompts",
        said("tuning", num_prompts=10**12),
        "adapter_config.json: tuning.num_prompts is 1000000000000;",
    ),
    Row(
        "9,999 prompts", said("tuning", num_prompts=9_999), "prompts.0 has shape [1, 2, 48], this model's is"
    ),
    Row(
        "-1 prompts",
        said("tuning", num_prompts=-1),
        "tuning.num_prompts is -1; expected a whole number from 1",
    ),
    Row(
        "an input of 10^9 frames",
        said("backbone", num_frames=10**9),
        "backbone.num_frames is 1000000000; expected",
    ),
    Row(
        "a cut of 2^40 samples", said("cut", num_samples=2**40), "cut.num_samples is 1099511627776; expected"
    ),
    Row(
        "10,000 segments of an hour",
        said("front_end", num_segments=10_000, num_frames=360_000),
        "are heard at once",
    ),
    Row(
        "an escape sequence for a class",
        said(None, labels=[FEWER[0] | {"name": "\x1b[2J"}]),
        f"{HELD} \\x1b;",
    ),
    Row("fewer classes", said(None, labels=FEWER), "head.fc.bias has shape [4], this model's is [1]"),
    Row(
        "another backbone",
        said("backbone", sha256=64 * "0"),
        "trained on the backbone with SHA-256 000000000000",
    ),
    Row(
        "a backbone of random weights",
        said("backbone", pretrained="random"),
        "its backbone had random weights",
    ),
    Row(
        "a backbone that is not there",
        said("backbone", pretrained="/nowhere"),
        "/nowhere: no such file or folder",
    ),
    Row(
        "tensors: cut off",
        half(TENSORS),
        f"adapter_model.safetensors: {DAMAGED} (SafetensorError); expected safeten",
    ),
    Row(
        "tensors: an empty file", text("", TENSORS), f"adapter_model.safetensors: {DAMAGED} (SafetensorError)"
    ),
    Row("tensors: a pickle with code", lambda folder: trap(folder, TENSORS), f"{DAMAGED} (SafetensorError)"),
    Row(
        "tensors: one renamed",
        tensors(lambda t: t.update(x=t.pop("prompts.0"))),
        "1 (prompts.0) missing, 1 (x) un",
    ),
    Row(
        "tensors: one missing",
        tensors(lambda t: t.pop("head.fc.bias")),
        "1 (head.fc.bias) missing, none unexpec",
    ),
    Row(
        "tensors: one too many",
        tensors(lambda t: t.update(x=torch.ones(1))),
        "none missing, 1 (x) unexpected",
    ),
    Row("tensors: NaN", tensors(lambda t: t["prompts.0"].fill_(torch.nan)), "prompts.0 is not finite"),
    Row(
        "tensors: whole numbers",
        tensors(lambda t: t.update({"prompts.0": t["prompts.0"].int()})),
        "prompts.0 is not finite, torch.int32; expected finite numbers",
    ),
    Row(
        "tensors: a header of 4 EiB",
        header(length=2**62),
        f"adapter_model.safetensors: {DAMAGED} (SafetensorError)",
    ),
    Row("tensors: 10^12 numbers in 4 bytes", header(shape=[10**12]), f"{DAMAGED} (SafetensorError)"),
    Row(
        "schema 1: under a later number",
        earlier(then=text('{"schema": 3}', "adapter.json")),
        "adapter.json: schema 3; this version reads 1 and 2",
    ),
    Row(
        "schema 1: no tensors", earlier(then=gone("adapter.safetensors")), "adapter.safetensors: no such file"
    ),
    Row(
        "schema 1: 10^12 prompts",
        earlier(said("tuning", num_prompts=10**12)),
        "adapter.json: tuning.num_prompts is 1000000000000;",
    ),
    Row(
        "schema 1: another backbone",
        earlier(said("backbone", sha256=64 * "0")),
        "adapter.json: trained on the backbone with SHA-256 000000000000",
    ),
    Row(
        "schema 1: a tensor twice, under two names",
        earlier(tensors(lambda t: t.update({f"backbone.{a}norm.bias": torch.ones(1) for a in ("", "vit.")}))),
        "adapter.safetensors: 'backbone.norm.bias' is there twice, once under a former name",
    ),
    Row(
        "schema 1: tensors cut off",
        earlier(half(TENSORS)),
        f"adapter.safetensors: {DAMAGED} (SafetensorError)",
    ),
    Row("tensors: a shape that overflows", header(shape=[2**32, 2**32]), f"{DAMAGED} (SafetensorError)"),
]


# Weights of a backbone: make(folder) writes weights.pth ------------------------------------------------


WEIGHTS = [
    Row("cut off", cut_weights, f"weights.pth: {DAMAGED}"),
    Row("a web page", text("<html>", "weights.pth"), f"weights.pth: {DAMAGED}"),
    Row("a pickle with code", lambda folder: trap(folder, "weights.pth"), f"weights.pth: {DAMAGED}"),
    Row(
        "a list", saved(lambda: [torch.ones(1)]), "weights.pth: expected a dictionary of tensors, found list"
    ),
    Row(
        "another network",
        saved(lambda: {"conv1.weight": torch.ones(1)}),
        "weights.pth: pos_embed missing; expected",
    ),
    Row(
        "a tensor expanded 10^12-fold",
        saved(lambda: {"pos_embed": torch.ones(1).expand(10**6, 10**6)}),
        "weights.pth: 'pos_embed' has shape [1000000, 1000000], and the file not every value of it",
    ),
    Row("an archive packed a thousandfold", bomb, "bytes would unpack to 10,000,..., which packs nothing"),
]


def matches(outcome: str, line: str) -> bool:
    """Whether a line holds the parts of an outcome in their order."""
    place = 0
    for part in map(str.strip, outcome.split("...")):
        found = line.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True


TABLES = {
    "Recordings": (RECORDINGS, "in a training list, and to `python3 -m ipet predict`"),
    "Lists and labels": (LISTS, "`train_1.json` or `labels.csv` in the folder of `-path_list`"),
    "Tables and folders": (
        OWN,
        "to `python3 data/prepare.py folder own`, as class folders or by `-csv own.csv`",
    ),
    "Trials": (TRIALS, "`trials.txt` of a VoxCeleb experiment"),
    "Command lines": (ARGUMENTS, "behind `python3 main.py`"),
    "Adapters": (ADAPTERS, "the folder that `python3 -m ipet predict` is given"),
    "Weights": (WEIGHTS, "`-pretrained weights.pth`"),
}


def spelt(words: str) -> str:
    """Text in a cell of a Markdown table."""
    return words.replace("|", "\\|").replace("`", "'")


def document() -> str:
    """docs/bad_input.md."""
    number = sum(len(rows) for rows, _ in TABLES.values())
    lines = [
        "# Bad input, and what becomes of it",
        "",
        f"{number} inputs, made and tried by `tests/test_malformed.py`. This page is what",
        "`python3 -m tests.test_malformed` prints.",
        "",
        "What is refused is refused in one line that begins with the file and the place in it, without a",
        "traceback; `...` stands for what differs from case to case. A recording's error is told before",
        "training where its header shows it, otherwise when it is decoded. With `-on_bad_audio skip` all are",
        "decoded before training; the clips that are refused here are left out, counted and listed in",
        "`skipped_clips.json`, and the others keep their order. What is doubtful or left out of a table or a",
        "folder is told in a line that begins with `warning:`.",
    ]
    for title, (rows, place) in TABLES.items():
        recordings = rows is RECORDINGS
        lines += ["", f"## {title}", "", f"Given {place}.", ""]
        lines += [f"| input | {'told | ' * recordings}outcome |", "|---" * (2 + recordings) + "|"]
        for row in rows:
            fine = row.outcome.startswith("fine")
            outcome = row.outcome if fine else f"`{spelt(row.outcome)}`"
            when = f"{'' if fine else row.when} | " * recordings
            lines.append(f"| {spelt(row.name)} | {when}{outcome} |")
    return "\n".join(lines) + "\n"
