"""make demo: its flags are those of the experiments, its comparison is fair, its adapter is heard again."""

import json
import re
import sys

import numpy as np
import pytest

from ipet.arguments import ast_values, wav2vec2_values
from ipet.backbones.audio_spectrogram_transformer import build_ast, save_backbone
from ipet.checkpoint import read_json, save_training, write_json
from ipet.models import ast_classifier, wav2vec2_classifier
from ipet.tuning import count_parameters

import releases
from helpers import EXPERIMENTS, ROOT, experiment, load_script, long, run_here

demo = load_script(ROOT / "demo.py", "demo")
MOST = 0.08  # of the backbone's parameters, that IPET trains
CLASSES = {"esc50": 50, "fsd50k": 200, "gtzan": 10, "speechcommands": 35, "voxceleb": 40}


@pytest.fixture
def out(tmp_path):
    """Where a demo writes, with the statistics that AST's flags are made of."""
    for name in demo.SETS.values():
        folder = tmp_path / "lists" / name
        folder.mkdir(parents=True)
        (folder / "stats.json").write_text(json.dumps({"mean": -7.12345, "std": 4.5}))
    return tmp_path


def arguments(name, out, method):
    """What an experiment makes of the demo's flags."""
    with experiment(name) as load:
        return load("arguments").get_args([str(word) for word in demo.main_flags(name, out, method, [])])


def test_every_experiment_has_a_demo_and_a_set():
    assert set(demo.DEMOS) == set(EXPERIMENTS)
    synthesize = load_script(ROOT / "data/synthesize.py", "synthesize_for_demo")
    assert {*demo.SETS.values(), *demo.NOISES} <= set(synthesize.SETS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_methods_differ_in_nothing_but_themselves(name, out):
    """The same data, epochs, frames and precision; IPET has the sizes of prompts and adapters alone."""
    own = {"name", "method", "lr", "head_lr", "embedding_prompt_num", "adapter_hidden_dim"}
    own.add("keep_features")  # the same numbers in less time, where convolutions are frozen
    runs = {method: vars(arguments(name, out, method)) for method in demo.METHODS}
    for method, values in runs.items():
        assert values["method"] == values["name"] == method
        assert {k: v for k, v in values.items() if k not in own} == {
            k: v for k, v in runs["ipet"].items() if k not in own
        }
    assert runs["ipet"]["embedding_prompt_num"] == runs["prompt"]["embedding_prompt_num"]
    assert runs["ipet"]["adapter_hidden_dim"] == runs["adapter"]["adapter_hidden_dim"]
    assert runs["ipet"]["pretrained"] == {"ast": "ast_small", "w2v": "wav2vec2_small"}[name[:3]]
    if name.startswith("ast"):
        assert (runs["ipet"]["norm_mean"], runs["ipet"]["norm_std"]) == (-7.1235, 4.5)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_ipet_trains_a_small_share_of_a_small_backbone(name, out):
    args = arguments(name, out, "ipet")
    args.pretrained, args.size = "random", "small"
    num_classes = CLASSES[name[4:]]
    if name.startswith("ast"):
        model = ast_classifier(num_classes, **ast_values(args))
    else:
        model = wav2vec2_classifier(num_classes, **wav2vec2_values(args))
    trainable, total = count_parameters(model)
    assert trainable <= MOST * (total - trainable)


def test_a_set_is_generated_unless_it_is_whole_and_then_prepared(out, monkeypatch):
    commands = []
    monkeypatch.setattr(demo, "run", lambda *command: commands.append(command))
    demo.prepare("esc50", out, "tiny", stats=True)
    assert [command[:2] for command in commands] == [
        ("data/synthesize.py", "esc50"),
        ("data/prepare.py", "esc50"),
    ]
    assert commands[0][2:] == (out / "esc50", "-size", "tiny", "-refresh")
    assert commands[1][2:] == (out / "esc50", "-out", out / "lists/esc50", "-stats")


def test_a_command_that_fails_ends_the_demo_with_its_status(capfd):
    with pytest.raises(SystemExit) as end:
        demo.run("-c", "import sys; sys.exit('no such sound')", folder=ROOT / "ast_esc50")
    assert end.value.code == 1
    shown = capfd.readouterr()
    assert shown.out.startswith("\n$ cd ast_esc50 && python3 -c ") and "no such sound" in shown.err


def test_runs_of_somebody_elses_are_not_removed(tmp_path, monkeypatch):
    mine = tmp_path / "runs/IPET/ast_esc50/ipet/arguments.json"
    write_json(mine, {"experiment": "ast_esc50"})
    monkeypatch.setattr(sys, "argv", ["demo.py", "ast_esc50", "-out", str(tmp_path)])
    monkeypatch.setattr(demo, "run", None)  # nothing is begun
    with pytest.raises(SystemExit, match="runs/IPET/ast_esc50/ipet: a run that no demo recorded"):
        demo.main()
    assert mine.is_file()


def test_a_protocol_without_an_interval_has_a_row_in_the_table(tmp_path, monkeypatch, capsys):
    row = {"method": "ipet", "metric": "accuracy", "value": 0.5, "low": None, "high": None}
    row |= {"trainable_parameters": 1, "all_parameters": 2, "seconds": 3, "checkpoint_bytes": 4096}
    for name, found in (("report", 0), ("read_runs", [None]), ("row_of", row)):
        monkeypatch.setattr(f"ipet.report.{name}", lambda *args, found=found, **flags: found)
    demo.show_table(tmp_path, tmp_path, ["ipet"])
    assert capsys.readouterr().out.split()[-7:] == ["ipet", "50.0", "-", "1", "50.00", "3", "4"]


# Heard again ----------------------------------------------------------------------------------------


def trained(name, release, out, monkeypatch, *more):
    """The IPET run of a demo on a release's lists, with a tiny backbone; returns its flags."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    data = demo.SETS[name[4:]]
    prepare = load_script(ROOT / "data/prepare.py", "prepare_for_demo")
    assert prepare.main([data, str(release(out / data)), "-out", str(out / "lists" / data)]) == 0
    save_backbone(build_ast(512, size="tiny"), out / "backbone")
    small = ["-pretrained", str(out / "backbone"), "-frame_length", "64", "-epoch", "2", *more]
    flags = [str(word) for word in demo.main_flags(name, out, "ipet", [*small, "-precision", "fp32"])]
    run_here(name, *flags)
    return flags


def test_two_clips_of_the_test_list_are_told_as_the_run_told_them(out, monkeypatch, capsys):
    flags = trained("ast_fsd50k", releases.make_fsd50k, out, monkeypatch)
    capsys.readouterr()
    with experiment("ast_fsd50k"):
        demo.hear("ast_fsd50k", flags)
    lines = capsys.readouterr().out.splitlines()
    cell = out / "runs/IPET/ast_fsd50k/ipet/seed_1234"
    assert lines[1] == f"Heard by a new model with {cell}/best/adapter_model.safetensors:"
    # The four clips that are tested: the second and the third; mids in the order of the table.
    assert [line.split(" is ")[1] for line in lines[2::2]] == ["Wind_chime", "Musical_instrument"]
    description = read_json(cell / "best/adapter_config.json")
    names = [label["name"] for label in description["labels"]]
    temperature = description["calibration"]["temperature"]
    for line, logits in zip(lines[3::2], np.load(cell / "predictions.npz")["scores"][[1, 2]]):
        told = dict(re.findall(r"(\w+) ([\d.]+) %", line))
        best = sorted(zip(-logits, names))
        assert list(told) == [name for _, name in best]
        for logit, name in best:
            assert float(told[name]) == pytest.approx(100 / (1 + np.exp(logit / temperature)), abs=0.06)


def test_a_target_and_a_nontarget_are_held_against_the_threshold(out, monkeypatch, capsys):
    flags = trained("ast_voxceleb", releases.make_voxceleb1, out, monkeypatch)
    capsys.readouterr()
    with experiment("ast_voxceleb"):
        demo.hear("ast_voxceleb", flags)
    lines = capsys.readouterr().out.splitlines()[2:]
    assert re.fullmatch(r"  (id10270/\S+) and (id10270/\S+): same speaker", lines[0])
    assert re.fullmatch(r"  (id10270/\S+) and (id10271/\S+): different speakers", lines[2])
    kept = np.load(out / "runs/IPET/ast_voxceleb/ipet/seed_1234/predictions.npz")
    targets = kept["targets"].astype(bool)
    for line, of_kind in ((lines[1], targets), (lines[3], ~targets)):
        heard, score, threshold = re.fullmatch(
            r"    heard: (.+), score (\S+), threshold (\S+)", line
        ).groups()
        assert float(score) == pytest.approx(kept["scores"][of_kind.argmax()], abs=2e-3)
        assert heard == ("the same" if float(score) >= float(threshold) else "different")
    # At the threshold as many targets are missed as nontargets accepted, as nearly as 15 trials can.
    missed = (kept["scores"][targets] < float(threshold) - 1e-3).mean()
    accepted = (kept["scores"][~targets] >= float(threshold) - 1e-3).mean()
    assert abs(missed - accepted) <= 1 / 6 + 1e-9


# The whole ------------------------------------------------------------------------------------------


def run_rivals_here(*command, folder=ROOT, run=demo.run):
    """What ``demo.run`` does; four of the five trainings without a process of their own."""
    if command[0] == "main.py" and "ipet" not in command:
        run_here(folder.name, *command[1:])
    else:
        run(*command, folder=folder)


@long
def test_the_demo_compares_five_methods_and_says_where_all_lies(tmp_path, monkeypatch, capfd):
    """On a tiny generated set with a tiny backbone; the runs of the last demo make way, others stay."""
    save_backbone(build_ast(512, size="tiny"), tmp_path / "backbone")
    small = ["-pretrained", tmp_path / "backbone", "-frame_length", 64, "-epoch", 1]
    words = ["demo.py", "ast_esc50", "-size", "tiny", "-out", tmp_path, "--", *small]
    runs = tmp_path / "tiny/runs/IPET/ast_esc50"
    for old in (runs / "ipet", runs.with_name("mine") / "ipet"):
        save_training(old / "seed_1234/fold_1/training_state.pt", {})
        write_json(old / "arguments.json", {"experiment": "ast_esc50"})
    write_json(runs / "of_mine/arguments.json", {"experiment": "ast_esc50"})
    (runs / demo.SIGN).write_text("The demo deletes these runs:\nipet\n../mine\n")
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    monkeypatch.setattr(demo, "run", run_rivals_here)
    with experiment("ast_esc50"):
        demo.main()
    assert [p.name for p in runs.parent.glob("*/ipet/seed_1234/fold_1/result.json")] == ["result.json"]
    assert (runs.with_name("mine") / "ipet/arguments.json").is_file()
    assert (runs / "of_mine/arguments.json").is_file()
    lines = capfd.readouterr().out.splitlines()
    [head] = [i for i, line in enumerate(lines) if line.startswith("method ")]
    rows = [re.split(r"\s{2,}", line) for line in lines[head : head + 6]]
    assert rows[0] == [
        "method",
        "accuracy (%)",
        "95 % interval",
        "trainable",
        "share (%)",
        "seconds",
        "file (KiB)",
    ]
    assert [row[0] for row in rows[1:]] == list(demo.METHODS)
    for method, value, interval, trainable, share, _, size in rows[1:]:
        summary = read_json(runs / method / "summary.json")
        last = summary["protocols"]["last"]
        assert float(value) == pytest.approx(100 * last["mean"], abs=0.05)
        assert [float(bound) for bound in interval.split(" - ")] == pytest.approx(
            [100 * bound for bound in last["interval"]], abs=0.05
        )
        assert int(trainable.replace(",", "")) == summary["trainable_parameters"]
        assert float(share) == pytest.approx(
            100 * summary["trainable_parameters"] / summary["all_parameters"], abs=0.005
        )
        file = runs / method / "seed_1234/fold_1/best/adapter_model.safetensors"
        assert int(size.replace(",", "")) == round(file.stat().st_size / 1024)
    assert (tmp_path / "tiny/ast_esc50/ast_esc50/pareto.png").is_file()
    assert (tmp_path / "tiny/ast_esc50/table.md").is_file()
    assert sum(line.startswith("    heard: ") for line in lines) == 2
    assert str(tmp_path / "tiny") in lines[-1] and lines[-1].startswith("Done in ")
