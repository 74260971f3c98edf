"""The table and the plots of many runs, made from small run folders written here."""

import csv
import io
import json
import re
import signal
import sys
import zipfile

import numpy as np
import pytest

import ipet
from ipet import report, run_page
from ipet.__main__ import main
from ipet.checkpoint import read_json, write_json
from ipet.epoch_losses import loss_curves
from ipet.report import find_runs, shortest_ends
from ipet.summary import planned_cells

from helpers import one_hot, result, write_run

pytest.importorskip("matplotlib", reason="the plots need matplotlib")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folds(tmp_path):
    """Two of three folds are finished; a cell answers cat, dog, dog for cat, cat, dog."""
    cells = {"seed_7/fold_1": result(0.5, 0.8, 0.7), "seed_7/fold_2": result(0.4, 0.5, 0.6)}
    predictions = {"scores": one_hot(0, 1, 1), "targets": one_hot(0, 0, 1).astype(np.uint8)}
    folder = tmp_path / "runs/IPET/t/first"
    return write_run(folder, "ast_esc50", cells, predictions=predictions, fold=3, method="ipet")


@pytest.fixture
def splits(tmp_path):
    """A run with validation and test lists: mAP."""
    tests = {"test_at_best_epoch": {"test_mAP": 0.44}, "test_at_last_epoch": {"test_mAP": 0.41}}
    more = {"tuning": {"method": "lora"}, "interval": {"test_at_best_epoch": [0.40, 0.48]}}
    cell = result(0.3, 0.5, 0.4, metric="mAP", watched="valid", **tests, **more)
    # by score, class 0: hit, miss, hit -> (1/1 + 2/3) / 2; class 1: miss, hit -> 1/2; class 2 never occurs
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.9, 0.5], [0.7, 0.2, 0.1]], dtype=np.float32)
    targets = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=np.uint8)
    predictions = {"scores": scores, "targets": targets}
    folder = tmp_path / "runs/IPET/t/second"
    write_run(folder, "w2v_fsd50k", {"seed_7": cell}, ("bark", "meow", "moo"), predictions)
    last = folder / "seed_7/last"
    (last / "adapter_config.json").rename(last / "adapter.json")  # as before schema 2
    return folder


@pytest.fixture
def trials(tmp_path):
    """A run of speaker verification: EER, of which less is better."""
    cells = {
        f"seed_{seed}": result(0.10, 0.05, 0.06, metric="EER", higher_is_better=False) for seed in (7, 8)
    }
    indices = np.arange(40)  # the later, the more often a target
    predictions = {"scores": np.linspace(-1, 1, 40), "targets": indices % 3 > (indices < 20)}
    folder = tmp_path / "runs/IPET/t/third"
    return write_run(folder, "ast_voxceleb", cells, (), predictions, rand_seed=[7, 8])


def table_rows(text):
    """The body of the table of plain text, by column."""
    lines = text.splitlines()
    head = re.split(r"\s{2,}", lines[0].strip())
    body = [re.split(r"\s{2,}", line.strip()) for line in lines[2:]]
    return [dict(zip(head, values)) for values in body if len(values) == len(head)]


# The table ------------------------------------------------------------------------------------------


def test_a_row_says_what_a_paper_would_and_what_it_cost(folds, capsys):
    assert main(["report", str(folds)]) == 0
    out = capsys.readouterr().out
    [row] = table_rows(out)
    assert row == {
        "experiment": "ast_esc50",
        "data": "esc50 (3 folds)",
        "method": "ipet",
        "run": "first",
        "metric": "accuracy",
        "protocol": "last epoch",
        "%": "65.00",  # (70 + 60) / 2
        # Student's t of one degree of freedom is 12.706, (10 / sqrt 2) / sqrt 2 = 5: 65 -+ 63.53, cut at 100
        "95 % interval": "1.47 - 100.00",
        "best epoch (%)": "70.00",  # (80 + 60) / 2
        "cells": "2 of 3",
        "trainable": "1,250",
        "share (%)": "1.25",
        "time": "1:01:00",  # both folds
        "memory (MiB)": "3,072",
        "checkpoint (MiB)": "2.5",
        "GMACs": "48.6",
    }
    assert out.splitlines()[-1] == "first: missing seed_7/fold_3"


def test_all_runs_below_a_folder_are_rows_of_one_table(folds, splits, trials, tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 0
    rows = table_rows(capsys.readouterr().out)
    got = [
        tuple(row[k] for k in ("experiment", "method", "metric", "%", "protocol", "cells")) for row in rows
    ]
    assert got == [
        ("ast_esc50", "ipet", "accuracy", "65.00", "last epoch", "2 of 3"),
        ("ast_voxceleb", "ipet", "EER", "6.00", "last epoch", "2 of 2"),
        ("w2v_fsd50k", "lora", "mAP", "44.00", "test, chosen epoch", "1 of 1"),
    ]
    assert rows[2]["95 % interval"] == "40.00 - 48.00"  # of one cell: over its clips


def test_another_protocol_is_reported_where_it_is_asked_for(folds, capsys):
    main(["report", str(folds), "-protocol", "best_epoch"])
    out = capsys.readouterr().out
    assert table_rows(out)[0]["%"] == "70.00"  # (80 + 60) / 2
    assert "best epoch: chosen on the clips that it is evaluated on, so optimistic" in out
    main(["report", str(folds), "-protocol", "nested"])
    out = capsys.readouterr().out
    assert table_rows(out)[0]["protocol"] == "last epoch"
    assert "first: has no cells of protocol nested, so last epoch is reported" in out


def test_a_run_reports_the_protocol_that_it_was_started_with(tmp_path, capsys):
    nested = result(
        0.5,
        0.6,
        watched="valid",
        test_at_best_epoch={"test_accuracy": 0.55},
        test_at_last_epoch={"test_accuracy": 0.5},
    )
    cells = {"seed_7/fold_1": result(0.1, 0.2), "seed_7/fold_1_nested": nested}
    write_run(tmp_path / "r", "ast_esc50", cells, fold=3, protocol=["nested", "last"])
    assert main(["report", str(tmp_path)]) == 0
    [row] = table_rows(capsys.readouterr().out)
    assert (row["protocol"], row["%"], row["cells"]) == ("nested", "55.00", "2 of 6")


def test_a_run_without_a_finished_cell_is_a_row_too(tmp_path, capsys):
    write_run(tmp_path / "young", "ast_gtzan", {}, fold=10, rand_seed=[1, 2], method="prompt")
    assert main(["report", str(tmp_path), "-cells", "-out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    [row] = table_rows(out)
    assert (row["method"], row["%"], row["cells"], row["GMACs"]) == ("prompt", "-", "0 of 20", "-")
    assert "young: no cell is finished" in out and "missing" not in out


def test_the_planned_cells_are_seeds_times_folds_and_those_of_nested_selection():
    assert planned_cells([1, 2], 0, ["last"]) == ["seed_1", "seed_2"]
    planned = planned_cells([1], 2, ["last", "nested"])
    assert planned == [
        *("seed_1/fold_1", "seed_1/fold_2"),
        *("seed_1/fold_1_nested", "seed_1/fold_2_nested"),
    ]


def test_runs_are_told_apart_by_as_much_of_their_folder_as_it_takes(tmp_path):
    folders = [tmp_path / end for end in ("IPET/a/x", "IPET/b/x", "other/b/x")]
    assert shortest_ends(folders) == ["IPET/a/x", "IPET/b/x", "other/b/x"]
    assert shortest_ends(folders[:2]) == ["a/x", "b/x"]
    assert shortest_ends(folders[:1]) == ["x"]


def test_the_same_run_given_twice_is_one_row(folds, capsys):
    main(["report", str(folds), str(folds.parent), str(folds / "..")])
    assert len(table_rows(capsys.readouterr().out)) == 1


def test_csv_holds_the_values_as_they_are(splits, capsys):
    main(["report", str(splits), "-format", "csv"])
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert float(row["value"]) == 0.44 and (float(row["low"]), float(row["high"])) == (0.40, 0.48)
    assert (row["metric"], row["cells"], row["planned_cells"]) == ("mAP", "1", "1")
    assert (row["checkpoint_bytes"], row["macs"], row["seconds"]) == ("2621440", "48600000000", "1830.0")


def test_markdown_and_latex_are_tables_of_their_kinds(folds, capsys):
    main(["report", str(folds), "-format", "markdown,latex"])
    markdown, latex = capsys.readouterr().out.split("\n\\begin{tabular}")
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 3 and len({line.count("|") for line in lines}) == 1
    assert lines[1].startswith("| --- |") and lines[1].endswith("---: |")
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(body) == 2 and len({line.count(" & ") for line in body}) == 1
    assert body[1].startswith(
        r"ast\_esc50 & esc50 (3 folds) & ipet & first & accuracy & last epoch & 65.00 & 1.47--100.00 &"
    )
    assert latex.rstrip().endswith("\\bottomrule\n\\end{tabular}")


@pytest.mark.parametrize("kind", ["text", "markdown", "csv", "latex"])
def test_a_strangers_words_are_text_in_every_format(folds, capsys, kind):
    arguments = read_json(folds / "arguments.json")
    hostile = "\\input{/etc/hostname}\x1b[31m\nline"
    write_json(folds / "arguments.json", arguments | {"experiment": hostile})
    main(["report", str(folds), "-format", kind])
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\nline" not in out and "[31m" in out
    assert "\\input{" not in out or kind != "latex"
    assert "\\textbackslash{}input\\{" in out or kind != "latex"


def test_each_run_shows_its_own_table_with_cells(folds, capsys):
    main(["report", str(folds), "-cells"])
    out = capsys.readouterr().out
    assert re.search(r"seed_7/fold_2 +60\.00 +60\.00 +\d+\.00", out)
    assert "common epoch [2]" in out


# Plots ----------------------------------------------------------------------------------------------


def test_out_holds_the_tables_and_the_plots_of_every_kind_of_run(folds, splits, trials, tmp_path):
    out = tmp_path / "out"
    assert main(["report", str(tmp_path / "runs"), "-out", str(out)]) == 0
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == {
        *("table.txt", "table.md", "table.csv", "table.tex"),
        *("ast_esc50/pareto.png", "ast_esc50/first/curves.png", "ast_esc50/first/confusion.png"),
        *("w2v_fsd50k/pareto.png", "w2v_fsd50k/second/curves.png"),
        *("w2v_fsd50k/second/per_class_ap.png", "w2v_fsd50k/second/per_class_ap.csv"),
        *("ast_voxceleb/pareto.png", "ast_voxceleb/third/curves.png"),
        *("ast_voxceleb/third/det.png", "ast_voxceleb/third/scores.png"),
    }
    for name in written:
        if name.endswith(".png"):
            assert (out / name).read_bytes().startswith(PNG) and (out / name).stat().st_size > 2_000, name


def test_no_name_of_a_strangers_run_leaves_the_folder_that_is_written_into(folds, tmp_path):
    arguments = read_json(folds / "arguments.json")
    write_json(folds / "arguments.json", arguments | {"experiment": "../../elsewhere"})
    before = set(tmp_path.rglob("*"))
    main(["report", str(folds), "-out", str(tmp_path / "deep/down/out")])
    new = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert new and all(path.is_relative_to(tmp_path / "deep/down/out") for path in new)


def losses_of_every_epoch(folder, num_epochs):
    """Write the rows of epochs, one of them twice after a resumed training, among those of steps."""
    rows = [{"kind": "epoch", "epoch": 2, "step": 4, "train_loss": 9.0}]
    for epoch in range(1, num_epochs + 1):
        rows.append({"kind": "step", "epoch": epoch, "step": 2 * epoch, "loss": 5.0})
        rows.append({"kind": "epoch", "epoch": epoch, "step": 2 * epoch, "train_loss": 1 / epoch})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text + '{"kind": "epoch", "epoch": 13, "train_l')


def test_the_loss_of_every_logged_epoch_is_drawn_where_few_are_evaluated(tmp_path, monkeypatch):  # B12
    history = [{"epoch": 12, "eval_accuracy": 0.5, "train_loss": 1 / 12}]
    cell = result(0.5) | {"history": history, "best_epoch": 12}
    folder = write_run(tmp_path / "run", "ast_esc50", {"seed_7": cell})
    losses_of_every_epoch(folder / "seed_7", 12)
    drawn = {}
    monkeypatch.setattr(report.plots, "plot_curves", lambda path, *values: drawn.update({path.name: values}))
    [run] = report.read_runs([folder], None, [])
    report.draw_curves(run, tmp_path / "out")
    want = {"seed_7": [(epoch, 1 / epoch) for epoch in range(1, 13)]}
    assert drawn["loss.png"] == (want, "training loss")
    assert drawn["curves.png"][0] == {"seed_7": [(12, 50.0)]}
    figures = []
    monkeypatch.setattr(run_page, "curve_figure", lambda curves, name: figures.append((curves, name)))
    run_page.curve_blocks(run)
    assert figures[1] == (want, "training loss")


@pytest.mark.parametrize(
    "text", ["", "[1]\n", '{"kind": "epoch", "epoch": "2", "train_loss": 1}\n', "\xff\n"]
)
def test_without_rows_of_epochs_the_losses_are_those_of_the_evaluated_ones(tmp_path, text):
    cell = result(0.5) | {"history": [{"epoch": 1, "eval_accuracy": 0.5, "train_loss": 2.0}]}
    folder = write_run(tmp_path / "run", "ast_esc50", {"seed_7": cell})
    (folder / "seed_7/metrics.jsonl").write_text(text, encoding="latin-1")
    assert loss_curves(folder, {"seed_7": cell}) == {"seed_7": [(1, 2.0)]}


def test_the_average_precision_of_every_class_worked_out_by_hand(splits, tmp_path):
    main(["report", str(splits), "-out", str(tmp_path / "out")])
    path = tmp_path / "out/w2v_fsd50k/second/per_class_ap.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["name"] for row in rows] == ["bark", "meow", "moo"]
    assert float(rows[0]["average_precision"]) == pytest.approx((1 + 2 / 3) / 2)
    assert float(rows[1]["average_precision"]) == pytest.approx(1 / 2)
    assert rows[2]["average_precision"] == "nan"
    assert [row["clips"] for row in rows] == ["2", "1", "0"]


def test_the_confusion_is_the_sum_of_the_cells(folds, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr("ipet.plots.plot_confusion", lambda path, *what: drawn.update({path.name: what}))
    main(["report", str(folds), "-out", str(tmp_path / "out")])
    matrix, names = drawn["confusion.png"]
    # In each of the two cells one cat is heard as a cat, one as a dog, and the dog as a dog.
    assert matrix.tolist() == [[2, 2], [0, 2]] and names == ["cat", "dog"]


def test_the_methods_of_an_experiment_share_one_pareto_plot(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("ipet.plots.plot_pareto", lambda *what: drawn.append(what))
    monkeypatch.setattr("ipet.report.PLOTS", {"accuracy": lambda run, folder: None})
    for name, method, size in (("a", "ipet", 900), ("b", "lora", 500), ("c", "lora", 700)):
        cell = result(0.5, 0.6, tuning={"method": method}, trainable_parameters=size)
        write_run(tmp_path / "runs" / name, "ast_esc50", {"seed_7/fold_1": cell}, fold=1)
    main(["report", str(tmp_path / "runs"), "-out", str(tmp_path / "out")])
    [(path, points, metric, higher_is_better)] = drawn
    assert (path.name, metric, higher_is_better) == ("pareto.png", "accuracy (%)", True)
    assert points == [("ipet", 900, 60.0, None), ("lora b", 500, 60.0, None), ("lora c", 700, 60.0, None)]


# Errors ---------------------------------------------------------------------------------------------


def test_a_folder_without_runs_is_an_error(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err == f"error: {tmp_path}: no run is here or below; a run's folder holds arguments.json\n"
    with pytest.raises(FileNotFoundError):
        find_runs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"metric": "accu', "not JSON"),
        ("[1, 2]", "damaged"),
        ("{}", "damaged: it has no 'metric'; expected a word"),
        (json.dumps(result(0.5) | {"history": []}), "damaged"),
        (json.dumps(result(0.5) | {"seconds": None}), "damaged"),
    ],
)
def test_a_damaged_result_is_named_and_the_others_are_reported(folds, splits, tmp_path, capsys, text, said):
    path = folds / "seed_7/fold_2/result.json"
    path.write_text(text)
    assert main(["report", str(tmp_path / "runs")]) == 1
    out, err = capsys.readouterr()
    [esc50, fsd50k] = table_rows(out)
    assert (esc50["%"], esc50["cells"], fsd50k["%"]) == ("70.00", "1 of 3", "44.00")
    assert "first: missing seed_7/fold_2, seed_7/fold_3" in out
    assert err.count("\n") == 1 and str(path) in err and said in err


@pytest.mark.parametrize("damage", ["cut off", "missing", "a forged shape", "packed too well"])
def test_damaged_predictions_are_named_and_the_other_plots_drawn(
    folds, trials, tmp_path, capsys, damage, monkeypatch
):
    path = folds / "seed_7/fold_1/predictions.npz"
    if damage == "missing":
        path.unlink()
    elif damage == "a forged shape":
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("scores", "targets"):
                head = (
                    "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 9)}".ljust(117) + "\n"
                )
                archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00\x76\x00" + head.encode())
    elif damage == "packed too well":
        monkeypatch.setattr("ipet.report.MOST_UNPACKED", 10_000)
        np.savez_compressed(path, scores=np.zeros(9_000), targets=np.zeros(9))
    else:
        path.write_bytes(path.read_bytes()[:100])
    assert main(["report", str(tmp_path / "runs"), "-out", str(tmp_path / "out")]) == 1
    assert str(path) in capsys.readouterr().err
    assert (tmp_path / "out/ast_esc50/first/curves.png").is_file()
    assert not (tmp_path / "out/ast_esc50/first/confusion.png").is_file()
    assert (tmp_path / "out/ast_voxceleb/third/det.png").is_file()


def test_a_run_whose_arguments_are_damaged_is_left_out_and_named(folds, splits, tmp_path, capsys):
    (folds / "arguments.json").write_text("{")
    assert main(["report", str(tmp_path / "runs")]) == 1
    out, err = capsys.readouterr()
    assert len(table_rows(out)) == 1
    assert str(folds / "arguments.json") in err


def test_without_matplotlib_the_tables_are_written_all_the_same(folds, tmp_path, capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["report", str(folds), "-out", str(tmp_path / "out")]) == 1
    assert (
        capsys.readouterr().err == "error: matplotlib is not installed: python3 -m pip install matplotlib\n"
    )
    assert (tmp_path / "out/table.md").is_file()


def test_an_unknown_command_or_format_says_what_is_accepted(tmp_path, capsys):
    assert main(["reprot"]) == 2
    assert "unknown command 'reprot'; did you mean 'report'? (accepted: report" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nothing")]) == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # as it was
    capsys.readouterr()
    assert main(["--version"]) == 0 and capsys.readouterr().out == f"ipet {ipet.__version__}\n"
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path), "-format", "html"])
    assert "unknown format 'html'; accepted: text, markdown, csv, latex" in capsys.readouterr().err
