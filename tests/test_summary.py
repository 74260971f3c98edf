"""The table at the end of a run, on numbers small enough to check by hand."""

import json
import re
from functools import partial

import pytest

from ipet.summary import cell_name, common_epoch, protocols, read_results, spread, summarise, table

import helpers

result = partial(helpers.result, seconds=60.0, peak_memory_bytes=2**30)


def folds(seed=7):
    return {
        f"seed_{seed}/fold_1": result(0.5, 0.8, 0.7),
        f"seed_{seed}/fold_2": result(0.4, 0.5, 0.6, seconds=75.0, peak_memory_bytes=3 * 2**30),
        f"seed_{seed}/fold_3": result(0.6, 0.7, 0.5),
    }


def with_tests(*valid, best, last, **more):
    tests = {"test_at_best_epoch": best, "test_at_last_epoch": last}
    tests = {key: {"test_loss": 1.0, "test_accuracy": value} for key, value in tests.items()}
    return result(*valid, watched="valid", **tests, **more)


def columns(line):
    return re.split(r"\s{2,}", line.strip())


def values(by_protocol):
    return {name: list(by_cell.values()) for name, by_cell in by_protocol.items()}


def test_the_protocols_of_three_folds():
    # means of the epochs: 1.5 / 3, 2.0 / 3, 1.8 / 3
    assert common_epoch(list(folds().values())) == 2
    assert values(protocols(folds())) == {
        "last": [0.7, 0.6, 0.5],
        "best_epoch": [0.8, 0.6, 0.7],  # of epochs 2, 3, 2
        "common_epoch": [0.8, 0.5, 0.7],
    }


def test_nested_cells_stand_beside_the_others_under_the_name_of_their_fold():
    cells = folds() | {cell_name(7, 2, nested=True): with_tests(0.9, 0.1, best=0.45, last=0.3)}
    assert protocols(cells)["nested"] == {"seed_7/fold_2": 0.45}
    summary = summarise(cells, "nested")
    assert summary["protocol"] == "nested" and summary["nested_epochs"] == {"seed_7/fold_2_nested": 1}
    assert columns(table(summary).splitlines()[2])[-1] == "-"  # fold 1 has none yet
    assert "[3] the epoch that is best on a held-out fold of the training list (1)" in table(summary)


def test_each_seed_has_its_own_common_epoch():
    other = {"seed_8/fold_1": result(0.9, 0.1), "seed_8/fold_2": result(0.7, 0.3)}
    summary = summarise(folds() | other)
    assert set(summary["common_epochs"].values()) == {2, 1}
    assert summary["protocols"]["common_epoch"]["values"]["seed_8/fold_1"] == 0.9


def test_an_error_rate_is_best_where_it_is_least_and_a_single_list_has_no_common_epoch():
    rates = result(0.3, 0.1, 0.2, metric="EER", higher_is_better=False)
    assert values(protocols({"seed_7": rates})) == {"last": [0.2], "best_epoch": [0.1]}
    two = {f"seed_7/fold_{k}": rates for k in (1, 2)}
    assert common_epoch(list(two.values())) == 2


def test_the_common_epoch_is_the_first_of_equals_and_one_that_every_fold_reached():
    assert common_epoch([result(0.5, 0.75), result(0.75, 0.5)]) == 1  # 0.625 both
    assert common_epoch([result(0.1, 0.2, 0.9), result(0.1, 0.2)]) == 2


def test_the_spread_is_the_sample_standard_deviation():
    # mean 2, deviations -1, 0, 1: sqrt((1 + 0 + 1) / (3 - 1))
    assert spread([1.0, 2.0, 3.0]) == pytest.approx(1.0)
    assert spread([0.7]) == 0.0


def test_the_interval_is_students_t_over_the_folds():
    # last epoch: mean 0.6, deviation 0.1, t(0.975, 2) = 4.303: 4.303 0.1 / sqrt(3) = 0.2484
    assert summarise(folds())["protocols"]["last"]["interval"] == pytest.approx([0.3516, 0.8484], abs=1e-4)
    # A second seed with the same numbers makes the folds no more independent.
    twice = summarise(folds() | folds(seed=8))["protocols"]["last"]["interval"]
    assert twice == pytest.approx([0.3516, 0.8484], abs=1e-4)


def test_a_single_cell_reports_the_interval_over_its_clips():
    cell = with_tests(0.8, best=0.75, last=0.75, interval={"test_at_best_epoch": [0.7, 0.8]})
    summary = summarise({"seed_7": cell})
    assert summary["protocols"]["test_at_best_epoch"]["interval"] == [0.7, 0.8]
    assert summary["protocols"]["test_at_last_epoch"]["interval"] is None
    # Two seeds: t(0.975, 1) = 12.706, deviation 0.05 sqrt(2), over sqrt(2): 0.635
    two = {"seed_7": cell, "seed_8": with_tests(0.8, best=0.85, last=0.75)}
    got = summarise(two)["protocols"]["test_at_best_epoch"]["interval"]
    assert got == pytest.approx([0.8 - 0.6353, 1.0], abs=1e-3)


def test_the_interval_of_one_fold_is_over_its_seeds():
    # mean 0.8, t(0.975, 1) = 12.706, deviation 0.01 sqrt(2), over sqrt(2): 0.1271
    seeds = {f"seed_{n}/fold_1": result(0.5, last) for n, last in ((7, 0.79), (8, 0.81))}
    got = summarise(seeds)["protocols"]["last"]["interval"]
    assert got == pytest.approx([0.8 - 0.1271, 0.8 + 0.1271], abs=1e-3)


def test_the_summary_of_three_folds():
    summary = summarise(folds())
    assert (summary["metric"], summary["protocol"]) == ("accuracy", "last")
    assert summary["cells"] == [f"seed_7/fold_{k}" for k in (1, 2, 3)]
    assert list(summary["best_epochs"].values()) == [2, 3, 2]
    means = {name: protocol["mean"] for name, protocol in summary["protocols"].items()}
    assert means == pytest.approx({"last": 0.6, "best_epoch": 0.7, "common_epoch": 2 / 3})
    # common epoch: deviations 0.4 / 3, -0.5 / 3, 0.1 / 3: sqrt((0.16 + 0.25 + 0.01) / 9 / 2) = 0.1528
    stds = {name: protocol["std"] for name, protocol in summary["protocols"].items()}
    assert stds == pytest.approx({"last": 0.1, "best_epoch": 0.1, "common_epoch": (0.42 / 18) ** 0.5})
    assert summary["seconds"] == 195.0  # all folds
    assert summary["peak_memory_bytes"] == 3 * 2**30  # the highest
    assert (summary["trainable_parameters"], summary["all_parameters"]) == (1_250, 100_000)


def test_the_table_of_three_folds():
    lines = table(summarise(folds())).splitlines()
    assert columns(lines[0]) == ["accuracy (%)", "last epoch", "best epoch [1]", "common epoch [2]"]
    assert set(lines[1]) == {"-", " "}
    assert [columns(line) for line in lines[2:8]] == [
        ["seed_7/fold_1", "70.00", "80.00", "80.00"],
        ["seed_7/fold_2", "60.00", "60.00", "50.00"],
        ["seed_7/fold_3", "50.00", "70.00", "70.00"],
        ["mean", "60.00", "70.00", "66.67"],
        ["std", "10.00", "10.00", "15.28"],
        ["95 %", "35.16 - 84.84", "45.16 - 94.84", "28.72 - 100.00"],
    ]
    assert len({len(line) for line in lines[:8]}) == 1  # the columns end alike
    assert lines[8].startswith("[1] each cell's best epoch on the clips it is evaluated on (2, 3, 2)")
    assert lines[9].startswith("[2] epoch 2, the single one that is best on the mean of the folds")
    assert lines[10:] == ["trainable parameters 1,250 of 100,000 (1.25 %), time 195 s, peak memory 3,072 MiB"]


def test_other_metrics_are_told_under_the_reported_protocol():
    history = [
        {"epoch": 1, "eval_EER": 0.2, "eval_minDCF": 0.9, "eval_loss": 1.0},
        {"epoch": 2, "eval_EER": 0.3, "eval_minDCF": 0.8},
    ]
    cell = result(0.2, 0.3, metric="EER", higher_is_better=False) | {"history": history}
    assert summarise({"seed_7": cell})["details"] == {"minDCF": 0.8}
    assert summarise({"seed_7": cell}, "best_epoch")["details"] == {"minDCF": 0.9}


def test_the_table_of_a_run_with_validation_and_test_lists():
    lines = table(summarise({"seed_7": with_tests(0.5, 0.8, 0.7, best=0.75, last=0.65)})).splitlines()
    assert columns(lines[0]) == [
        "accuracy (%)",
        "valid, chosen epoch [4]",
        "test, chosen epoch [4]",
        "test, last epoch",
    ]
    assert columns(lines[2]) == ["seed_7", "80.00", "75.00", "65.00"]
    # one run has no mean and no spread: the notes follow
    assert lines[3] == "[4] epoch 2, the best on the validation list; the test list chose nothing"
    assert lines[4].startswith("trainable parameters 1,250 of 100,000 (1.25 %), time 60 s")


def test_results_are_read_in_the_order_of_seeds_and_folds(tmp_path):
    names = ["seed_2", "seed_10/fold_10", "seed_10/fold_2", "seed_10/fold_2_nested"]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "result.json").write_text(json.dumps(result(0.5, cell=name)))
    (tmp_path / "seed_3").mkdir()  # begun, not finished
    found = read_results(tmp_path)
    assert list(found) == ["seed_2", "seed_10/fold_2", "seed_10/fold_2_nested", "seed_10/fold_10"]
    assert all(value["cell"] == name for name, value in found.items())


def test_results_of_one_run_are_of_one_metric(tmp_path):
    for name, more in {"seed_1": {}, "seed_2": {"metric": "mAP"}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result(0.5, **more)))
    with pytest.raises(
        ValueError, match=r"seed_2/result\.json: damaged: 'metric' is 'mAP'; expected 'accuracy'"
    ):
        read_results(tmp_path)


# The original's metrics (D8) --------------------------------------------------------------------------


def with_original(cell, **curves):
    """A cell whose history also has the original's metrics, one value an epoch each."""
    rows = [
        row | {f"original_{name}": curve[i] for name, curve in curves.items()}
        for i, row in enumerate(cell["history"])
    ]
    return cell | {"history": rows}


def test_the_best_epoch_on_the_test_list_stands_beside_the_chosen_one():  # D8
    cell = with_tests(0.5, 0.8, 0.7, best=0.75, last=0.65)
    lines = table(summarise({"seed_7": with_original(cell, acc=[0.9, 0.75, 0.65])})).splitlines()
    assert columns(lines[0])[1:] == [
        "valid, chosen epoch [4]",
        "test, chosen epoch [4]",
        "test, last epoch",
        "test, best epoch [5]",
    ]
    assert columns(lines[2]) == ["seed_7", "80.00", "75.00", "65.00", "90.00"]
    assert "[5] each cell's best epoch on the test list (1): the authors' protocol, optimistic" in lines


def test_the_reported_value_stays_that_of_the_chosen_epoch():  # D8
    cell = with_original(with_tests(0.5, 0.8, 0.7, best=0.75, last=0.65), acc=[0.9, 0.75, 0.65])
    for protocol in ("last", "best_epoch", "nested"):
        assert summarise({"seed_7": cell}, protocol)["protocol"] == "test_at_best_epoch"


def test_the_original_s_metrics_are_means_over_folds_of_the_last_and_of_each_one_s_best_epoch():  # D8
    curves = {"seed_7/fold_1": [0.5, 0.9, 0.7], "seed_7/fold_2": [0.4, 0.2, 0.3]}
    cells = {cell: with_original(result(*c), mAP=c, cum_acc=c, d_prime=c) for cell, c in curves.items()}
    summary = summarise(cells)
    assert summary["original"]["list"] == "eval"
    assert summary["original"]["metrics"] == {
        name: {"last": pytest.approx(0.5), "best_epoch": pytest.approx(0.65)}
        for name in ("mAP", "d_prime", "cum_acc")
    }
    shown = [columns(line) for line in table(summary).splitlines()]
    assert ["cum_acc", "50.00 %", "65.00 %"] in shown and ["d_prime", "0.5000", "0.6500"] in shown


def test_cells_of_which_one_lacks_the_original_s_metrics_have_no_mean_of_them():
    cells = {"seed_1": with_original(result(0.5), acc=[0.5]), "seed_2": result(0.5)}
    assert summarise(cells)["original"] == {}


def test_a_further_metric_of_a_single_cell_is_told_with_its_interval():  # A7
    history = [{"epoch": 1, "eval_EER": 0.2, "eval_minDCF": 0.8}]
    intervals = {"detail_intervals": {"last": {"minDCF": [0.7, 0.875]}}}
    cell = result(0.2, metric="EER", higher_is_better=False) | {"history": history, **intervals}
    assert "minDCF 0.8000 (0.7000 to 0.8750)" in table(summarise({"seed_7": cell}))
