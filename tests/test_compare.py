"""What two runs differ in, from small run folders written here, and the paired difference of a metric."""

import json
import math
import shutil

import numpy as np
import pytest

from ipet.__main__ import main
from ipet.differences import Scores, paired_difference
from ipet.intervals import ClipBootstrap, resampled
from ipet.metrics import mean_average_precision
from ipet.verification_metrics import eer

from helpers import one_hot, result, write_run

# The paired difference ------------------------------------------------------------------------------


def answers(right, targets):
    """[N] whether right, [N] of two classes -> the scores of a cell."""
    return Scores(one_hot(*np.where(right, targets, 1 - targets)), one_hot(*targets), sha256="list")


def some(num_clips=300, shares=(0.8, 0.7), seed=0):
    """Answers of two runs to the same clips, most of which are right in both or in neither."""
    rng = np.random.default_rng(seed)
    targets, easy = rng.integers(2, size=num_clips), rng.random(num_clips)
    right = [easy + 0.1 * rng.standard_normal(num_clips) < share for share in shares]
    return [answers(r, targets) for r in right]


def test_three_of_four_clips_against_one_of_four():
    targets = np.array([0, 1, 0, 1])
    a = answers(np.array([True, True, True, False]), targets)
    b = answers(np.array([True, False, False, False]), targets)
    difference, low, high = paired_difference({"seed_1": a}, {"seed_1": b}, "accuracy")
    # Two clips count +1 for A, two 0: 2 / 4, with a standard error of sqrt(0.25 / 4).
    assert difference == 0.5 and (low, high) == pytest.approx((0, 1), abs=0.06)


def test_the_interval_is_two_standard_errors_of_the_clips_own_differences():
    a, b = some(1000)
    difference, low, high = paired_difference({"seed_1": a}, {"seed_1": b}, "accuracy", 2000)
    each = [(scores.argmax(1) == targets.argmax(1)).astype(float) for scores, targets, *_ in (a, b)]
    error = (each[0] - each[1]).std() / np.sqrt(1000)
    assert difference == pytest.approx(each[0].mean() - each[1].mean())
    assert (low, high) == pytest.approx(
        (difference - 1.96 * error, difference + 1.96 * error), abs=0.2 * error
    )
    unpaired = np.sqrt(sum(e.var() for e in each) / 1000)
    assert high - low < 0.8 * 2 * 1.96 * unpaired  # what is hard for both cancels


def test_seeds_of_one_fold_share_their_resample_and_folds_do_not():
    a, b = some(seed=1)
    one = paired_difference({"seed_1/fold_1": a}, {"seed_1/fold_1": b}, "accuracy")
    seeds = [{f"seed_{seed}/fold_1": run for seed in (1, 2, 3, 4)} for run in (a, b)]
    # Four seeds that answer alike tell no more than one: drawn one by one the interval would be half as wide.
    assert paired_difference(*seeds, "accuracy") == pytest.approx(one)
    folds = [some(seed=seed) for seed in (1, 2, 3, 4)]
    folds = [{f"seed_1/fold_{k}": pair[i] for k, pair in enumerate(folds, start=1)} for i in (0, 1)]
    _, low, high = paired_difference(*folds, "accuracy")
    assert 0.4 < (high - low) / (one[2] - one[1]) < 0.6  # four times the clips


def test_the_other_way_round_it_is_the_negative_and_against_itself_nothing():
    a, b = ({"seed_1": run} for run in some())
    difference, low, high = paired_difference(a, b, "accuracy")
    assert paired_difference(b, a, "accuracy") == pytest.approx((-difference, -high, -low))
    assert paired_difference(a, a, "accuracy") == (0, 0, 0)


def test_the_interval_covers_the_truth_about_nineteen_times_in_twenty():
    right = [(s.argmax(1) == t.argmax(1)).mean() for s, t, *_ in some(200_000)]
    covered = 0
    for seed in range(1, 101):
        a, b = ({"seed_1": run} for run in some(200, seed=seed))
        _, low, high = paired_difference(a, b, "accuracy", num_resamples=200)
        covered += low <= right[0] - right[1] <= high
    assert 87 <= covered <= 100


def test_it_is_the_difference_of_the_two_runs_own_values():
    rng = np.random.default_rng(0)
    targets = rng.random((80, 5)) < 0.3
    a, b = (Scores(rng.standard_normal((80, 5)).round(1) + targets, targets, sha256="list") for _ in "ab")
    difference, low, high = paired_difference({"seed_1": a}, {"seed_1": b}, "mAP", 100)
    want = mean_average_precision(*a[:2]) - mean_average_precision(*b[:2])
    assert difference == pytest.approx(want) and low < difference < high
    targets = rng.random(200) < 0.5
    speakers = rng.integers(20, size=(200, 2))
    speakers[targets, 1] = speakers[targets, 0]
    a, b = (
        Scores(rng.standard_normal(200).round(1) + k * targets, targets, speakers, "list") for k in (1, 2)
    )
    difference, low, high = paired_difference({"seed_1": a}, {"seed_1": b}, "EER", 100)
    assert difference == pytest.approx(eer(*a[:2]) - eer(*b[:2])) and low < difference < high


def test_other_clips_or_another_order_have_no_paired_difference():
    a, b = some(20)
    turned = Scores(b.scores[::-1], b.targets[::-1], sha256="list")
    fewer = Scores(b.scores[:-1], b.targets[:-1], sha256="list")
    for other in (turned, fewer, b._replace(sha256="other clips"), b._replace(sha256=None)):  # A4
        assert paired_difference({"seed_1": a}, {"seed_1": other}, "accuracy") is None
    assert paired_difference({"seed_1": a}, {"seed_2": b}, "accuracy") is None
    mixed = paired_difference({"seed_1": a, "seed_2": a}, {"seed_1": turned, "seed_2": b}, "accuracy")
    assert mixed == paired_difference({"seed_2": a}, {"seed_2": b}, "accuracy")


def test_groups_of_items_are_drawn_each_in_itself():
    seen = []
    resampled(lambda counts: seen.append(counts) or 0.0, [ClipBootstrap(3), ClipBootstrap(5)], 20)
    assert len(seen) == 20
    assert all(counts[:3].sum() == 3 and counts[3:].sum() == 5 for counts in seen)


# Runs -----------------------------------------------------------------------------------------------

START = {"python": "3.11.7", "packages": {"torch": "2.11.0"}, "device": "cpu", "processes": 1, "threads": 1}


def write_all(folder, scores=(0, 1, 1), targets=(0, 0, 1), losses=(2.0, 1.5, 1.25), start=START, **more):
    """A run of two folds with everything that a comparison reads."""
    cells = {f"seed_7/fold_{k}": result(0.5, 0.6 + k / 100) for k in (1, 2)}
    predictions = {"scores": one_hot(*scores), "targets": one_hot(*targets).astype(np.uint8)}
    write_run(folder, "ast_esc50", cells, predictions=predictions, fold=2, **{"lr": 0.001, **more})
    (folder / "environment.json").write_text(json.dumps([{"started": str(folder), "command": [], **start}]))
    (folder / "sources").mkdir()
    (folder / "sources/model.py").write_text("one\ntwo\n")
    for cell in cells:
        rows = [{"kind": "step", "epoch": 1, "step": i, "loss": v} for i, v in enumerate(losses, start=1)]
        rows += [{"kind": "epoch", "epoch": 1, "step": len(losses), "seconds": len(str(folder))}]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / cell / "metrics.jsonl").write_text(text)
        for kind in ("last", "best"):
            (folder / cell / kind).mkdir(exist_ok=True)
            (folder / cell / kind / "adapter_model.safetensors").write_bytes(str(losses).encode())
    return folder


@pytest.fixture
def a(tmp_path):
    return write_all(tmp_path / "a", name="a", tags="t", path_run="/here", lists_sha256="0" * 64)


def compared(a, b, capsys):
    """The comparison as JSON values, and as text."""
    assert main(["compare", str(a), str(b), "-json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["compare", str(a), str(b)]) == 0
    return found, capsys.readouterr().out


def test_the_same_run_in_another_place_is_the_same_bit_for_bit(a, tmp_path, capsys):
    b = write_all(tmp_path / "another", name="b", tags="u", path_run="/there", lists_sha256="0" * 64)
    found, out = compared(a, b, capsys)
    assert found["same"]
    for part in ("arguments", "data", "backbone", "sources", "environment"):
        assert found[part] == {}, part
    assert out.count("bit for bit the same: 4 rows of metrics.jsonl, both adapters, predictions") == 2
    assert out.count("the same\n") >= 4 and "A - B = +0.00 percentage points" in out


def test_what_differs_is_said_and_nothing_else(a, tmp_path, capsys):
    start = START | {"packages": {"torch": "2.12.0"}}
    b = write_all(
        tmp_path / "b", (0, 0, 1), losses=(2.0, 1.5, 1.0), lr=0.01, start=start, lists_sha256="1" * 64
    )
    (b / "sources/model.py").write_text("one\n2\n")
    found, out = compared(a, b, capsys)
    assert found["arguments"] == {"lr": [0.001, 0.01]}
    assert found["data"] == {"lists_sha256": ["0" * 64, "1" * 64]}
    assert found["environment"] == {"packages.torch": ["2.11.0", "2.12.0"]}
    assert found["source_lines"] == {"model.py": ["-two", "+2"]}
    assert not found["same"] and not any(part["same"] for part in found["training"].values())
    first = found["training"]["seed_7/fold_1"]["first"]
    assert first == {"kind": "step", "epoch": 1, "step": 3, "values": {"loss": [1.25, 1.0]}}
    assert "part at epoch 1, step 3: loss 1.25 | 1" in out
    assert found["paired"]["difference"] == pytest.approx(-1 / 3)  # of three clips one more is right in B
    assert found["paired"]["cells"] == ["seed_7/fold_1", "seed_7/fold_2"]


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ({}, {"patchout": 0.0}, False),  # an earlier version had it not, and it is off
        ({}, {"patchout": 0.5}, True),
        ({"path_list": "/x", "resume": True}, {"path_list": "/y", "resume": False}, False),
        ({"path_cache": "/x"}, {"path_cache": "/y"}, False),
        ({"path_cache": None}, {"path_cache": "/y"}, True),  # it may round samples
    ],
)
def test_arguments_that_only_say_where_things_lie_are_no_difference(tmp_path, capsys, before, after, differs):
    a, b = write_all(tmp_path / "a", **before), write_all(tmp_path / "b", **after)
    found, _ = compared(a, b, capsys)
    assert bool(found["arguments"]) == differs


def test_what_is_not_a_number_in_both_is_no_difference(tmp_path, capsys):
    a, b = (write_all(tmp_path / name, losses=(2.0, math.nan, math.inf)) for name in "ab")
    found, _ = compared(a, b, capsys)
    assert found["same"]


def test_what_a_stranger_s_run_says_does_not_rewrite_the_screen(a, tmp_path, capsys):
    start = START | {"platform": "\x1b]0;title\x07"}
    b = write_all(tmp_path / "b", start=start, note="\x1b[2J")
    (b / "sources/model.py").write_text("one\n\x1b[31mthree\n")
    assert main(["compare", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    for said in (r"\x1b]0;title\x07", r"\x1b[2J", r"model.py: +\x1b[31mthree"):
        assert said in out


def test_cells_and_protocols_that_one_has_alone_are_named(a, tmp_path, capsys):
    b = write_all(tmp_path / "b", protocol=["best_epoch"])
    shutil.rmtree(b / "seed_7/fold_2")
    found, out = compared(a, b, capsys)
    assert found["results"]["alone"] == [["seed_7/fold_2"], []] and not found["same"]
    assert found["results"]["protocol"] == "last" and "reported: last epoch | best epoch" in out
    assert list(found["results"]["cells"]) == ["seed_7/fold_1"]


@pytest.mark.parametrize("digest", ["1" * 64, None])
def test_other_clips_have_results_but_no_paired_difference(a, tmp_path, capsys, digest):  # A4
    b = write_all(tmp_path / "b")  # the same targets
    for path in b.glob("seed_*/*/result.json"):
        values = json.loads(path.read_text()) | {"evaluated_sha256": digest}
        path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))
    found, out = compared(a, b, capsys)
    assert not found["paired"]["paired"] and len(found["results"]["cells"]) == 2
    assert (
        "no paired difference: the evaluation list" in found["paired"]["why"]
        and found["paired"]["why"] in out
    )


def test_a_run_without_a_finished_cell_is_compared_as_far_as_it_goes(a, tmp_path, capsys):
    b = write_run(tmp_path / "b", "ast_gtzan", {}, fold=2, lr=0.5)
    found, out = compared(a, b, capsys)
    assert found["arguments"]["lr"] == [0.001, 0.5] and found["experiment"] == ["ast_esc50", "ast_gtzan"]
    assert "no finished cell in common" in out and not found["same"]


def test_json_is_also_written_into_a_file(a, tmp_path, capsys):
    assert main(["compare", str(a), str(a), "-json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["same"]
    assert "bit for bit" in capsys.readouterr().out


# Damage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [f"seed_7/fold_2/{file}" for file in ("metrics.jsonl", "predictions.npz", "result.json")]
)
@pytest.mark.parametrize("damage", ["cut off", "of another kind", "missing"])
def test_a_damaged_file_of_a_cell_is_named_and_the_rest_is_compared(a, tmp_path, capsys, name, damage):
    b = write_all(tmp_path / "b")
    path = b / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:30] if damage == "cut off" else b"[1, 2]\n")
    missing_cell = damage == "missing" and name.endswith("result.json")  # is not finished: no damage
    assert main(["compare", str(a), str(b)]) == (0 if missing_cell else 1)
    out, err = capsys.readouterr()
    assert "seed_7/fold_1  bit for bit the same" in out
    if not missing_cell:
        assert err.startswith("error: ") and err.count("\n") == 1 and str(path) in err


@pytest.mark.parametrize("name", ["arguments.json", "environment.json"])
@pytest.mark.parametrize("text", ["{", "7", '["x"]'])
def test_a_damaged_run_is_one_line_that_names_it(a, tmp_path, capsys, name, text):
    b = write_all(tmp_path / "b")
    (b / name).write_text(text)
    assert main(["compare", str(a), str(b)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and str(b) in err


def test_what_is_no_run_is_told(a, tmp_path, capsys):
    write_all(tmp_path / "b")
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.json").write_text("{}")
    for path, said in (
        (tmp_path / "nowhere", "no such run; expected a run's folder or a passport.json"),
        (tmp_path, "2 runs lie below; expected the folder of one"),
        (tmp_path / "empty", "no run is here or below"),
        (tmp_path / "x.json", "no passport; expected the passport.json of a run's folder"),
    ):
        assert main(["compare", str(a), str(path)]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"error: {path}: ") and said in err and err.count("\n") == 1
