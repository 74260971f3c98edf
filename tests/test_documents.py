"""Links, pictures and numbers of the documents, the pages made of them, and a beginner's afternoon."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest

from ipet import __main__

from documented import DOCUMENTS, blocks
from helpers import EXPERIMENTS, ROOT, experiment, load_script, long, write_wav

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def prose(path):
    """A document without its blocks and inline code, which hold no links."""
    return "\n\n".join(re.sub(r"`[^`]*`", "code", text) for _, text in blocks(path.read_text())[1])


def anchors(path):
    """What a link may have behind its #, as GitHub names headings."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document):
    for _, _, target in LINK.findall(prose(document)):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{document.relative_to(ROOT)}: no {target}"
        assert not anchor or anchor in anchors(file), f"{document.relative_to(ROOT)}: no heading {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_picture_has_words_and_the_command_that_made_it_beside_it(document):
    lines = document.read_text().splitlines()
    for i, line in enumerate(lines):
        for is_picture, words, target in LINK.findall(line):
            if is_picture:
                file = (document.parent / target).resolve()
                assert file.is_file() and len(words) > 20
                below = lines[i + 1 : i + 10]
                made = [x for x in below if x.startswith("    ") and str(file.relative_to(ROOT)) in x]
                said = re.search(r"`[^`]*\bpython3 [^`]*` draws it", "\n".join(below))
                assert made or said, f"{document.relative_to(ROOT)}: how is {target} made?"


def test_every_page_is_in_the_navigation_and_none_fetches_anything(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: python3 -m pip install -r requirements-dev.txt")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {page.stem for page in pages} >= {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert not list(tmp_path.rglob("*.py"))
    for page in pages:
        fetched = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"([^\"]+)\"", page.read_text())
        assert fetched and not [url for url in fetched if re.match(r"(https?:)?//", url)]
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", style.read_text())


def test_the_picture_of_the_method_is_what_its_script_draws(tmp_path):
    committed = ROOT / "docs/pictures/method.svg"
    drawn = load_script(ROOT / "docs/pictures/method.py", "picture_of_the_method").draw(tmp_path / "m.svg")
    pinned = re.findall(r"^matplotlib==(\S+?);? ", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    if version("matplotlib") == pinned[0]:
        assert drawn.read_bytes() == committed.read_bytes(), "python3 docs/pictures/method.py"
    texts = [re.findall(r"<!-- (.*?) -->", path.read_text()) for path in (drawn, committed)]
    assert texts[0] == texts[1] and texts[0].count("LN1") == texts[0].count("dropped") == 2


def test_the_published_settings_of_the_page_are_those_of_the_code():
    text = (ROOT / "docs/experiments.md").read_text()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `.*$", text, re.M)]
    rows = {row[0].strip("`"): row[1:] for row in rows if len(row) == 12}
    assert set(rows) == set(EXPERIMENTS)
    for name, row in rows.items():
        with experiment(name) as load:
            get_args = load("arguments").get_args
            args, tuned = get_args(["-name", "x"]), get_args(["-name", "x", "-method", "finetune"])
        masks = f"{args.freqm}, {args.timem}" if name.startswith("ast") else ""
        assert row[:3] == [str(args.frame_length), str(args.nb_seg), masks]
        assert float(row[3]) == args.mixup and row[4] == args.classification_loss
        sizes = (args.embedding_prompt_num, args.adapter_hidden_dim, args.epoch, args.batch_size)
        assert tuple(map(int, row[5:9])) == sizes
        assert (float(row[9]), float(row[10])) == (args.lr, tuned.lr)


def test_the_worked_number_of_parameters_adds_up():
    text = (ROOT / "docs/method.md").read_text()
    lines = re.findall(r"^    (?:prompts|adapters|head) +(.*?) = +([\d,]+)$", text, re.MULTILINE)
    values = [int(value.replace(",", "")) for _, value in lines]
    for (formula, _), value in zip(lines, values, strict=True):
        assert re.fullmatch(r"[\d *+()]+", formula) and eval(formula) == value
    [total] = re.findall(r"^    trained +([\d,]+)$", text, re.MULTILINE)
    assert len(values) == 3 and sum(values) == int(total.replace(",", "")) == 676_274


def test_the_table_of_the_demo_is_one_wherever_it_is_shown():
    shown = []
    for name in ("README.md", "docs/quickstart.md"):
        found = blocks((ROOT / name).read_text())[0]
        shown += [block.lines for block in found if block.lines[0].startswith("method ")]
    assert len(shown) == 2 and shown[0] == shown[1]
    assert [line.split()[0] for line in shown[0][1:] if line] == [
        "linear",
        "prompt",
        "adapter",
        "ipet",
        "finetune",
    ]


def test_the_page_of_commands_has_each_of_them():
    text = (ROOT / "docs/commands.md").read_text()
    assert set(__main__.COMMANDS) <= set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE))


def test_a_link_out_of_the_pages_becomes_its_name():
    links = load_script(ROOT / "docs/links.py", "links_of_pages")
    text = "[a](../ipet/tuning.py), [b](method.md#x), ![c](pictures/method.svg)"
    assert links.on_page_markdown(text, page=None) == text.replace("[a](../ipet/tuning.py)", "a")


# What a beginner does -------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """A copy of the repository, as far as the commands below need it."""
    for name in ("ipet", "data", "ast_custom"):
        ignored = shutil.ignore_patterns("__pycache__", "*.json", "own")
        shutil.copytree(ROOT / name, tmp_path / "ipet_copy" / name, ignore=ignored)
    (tmp_path / "ipet_copy/pretrained_models").symlink_to(ROOT / "pretrained_models")
    return tmp_path / "ipet_copy"


def shell(lines, folder, **environment):
    """Run lines of bash; what they print."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bin/python3").chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    env |= {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **environment}
    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)], cwd=folder, env=env, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@long
def test_the_commands_of_the_readme_lead_from_recordings_to_what_is_heard(
    checkout, tmp_path, monkeypatch, capsys
):
    """Nothing but places and sizes is changed; then the Python of docs/library.md uses what was trained."""
    drums = tmp_path / "drums"
    for i in range(16):
        write_wav(drums / ("kick", "snare")[i % 2] / f"{1 + i // 4}-{i}.wav", 0.5, seed=i)
    blocks_of_readme = [block.lines for block in blocks((ROOT / "README.md").read_text())[0]]
    [lines] = [lines for lines in blocks_of_readme if any("prepare.py folder" in line for line in lines)]
    assert len([line for line in lines if line]) == 3
    small = " -frame_length 64 -freqm 8 -timem 8 -epoch 1 -tags drums)"
    lines = [re.sub(r"\)$", small, line) if "main.py" in line else line for line in lines]
    lines = [re.sub(r"(?<![.\w])/data/drums", str(drums), line) for line in lines]  # not ../data/drums
    said = shell([line.replace("-folds 4", "-folds 2") for line in lines], checkout)
    assert "Next" in said and "Nothing must be mended" in said and "trainable parameters" in said
    [predict] = re.findall(r"^  python3 -m ipet (predict .*)$", said, re.MULTILINE)
    assert __main__.main(shlex.split(predict)) == 0
    assert re.search(r"^ +[\d.]+ %  (kick|snare)$", capsys.readouterr().out, re.MULTILINE)

    adapter = checkout / "runs/IPET/drums/ast_custom/ast_small/seed_1234/fold_1/last"
    code = "\n".join("\n".join(block.lines) for block in python_blocks("docs/library.md"))
    code = re.sub(r'ADAPTER = ".*?"', f"ADAPTER = {str(adapter)!r}", code)
    code = re.sub(r'CLIP = ".*?"', f"CLIP = {str(drums / 'kick/1-0.wav')!r}", code)
    monkeypatch.chdir(checkout)
    names = {}
    exec(compile(code, "docs/library.md", "exec"), names)
    assert [len(answer[0]) for answer in names["logits"]] == [2, 2]
    assert (checkout / "adapter/adapter_model.safetensors").is_file()


def python_blocks(name):
    """The blocks of Python of a document."""
    return [block for block in blocks((ROOT / name).read_text())[0] if block.language == "python"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_python_is_python(document):
    for block in python_blocks(document.relative_to(ROOT)):
        compile("\n".join(block.lines), f"{document.name}, line {block.line}", "exec")
