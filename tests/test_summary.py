"""The table at the end of a run, on numbers small enough to check by hand."""

import re

import pytest

from ipet.summary import common_epoch, fold_protocols, spread, summarise, table


def result(*accuracies, watched="eval", **more):
    """What a fold leaves behind, with these accuracies after its epochs."""
    history = [{"epoch": i, f"{watched}_accuracy": a} for i, a in enumerate(accuracies, start=1)]
    return {
        "metric": "accuracy",
        "watched": watched,
        "best_epoch": accuracies.index(max(accuracies)) + 1,
        "history": history,
        "trainable_parameters": 1_250,
        "all_parameters": 100_000,
        "seconds": 60.0,
        "peak_memory_bytes": 2**30,
        **more,
    }


def folds():
    return {
        "fold_1": result(0.5, 0.8, 0.7),
        "fold_2": result(0.4, 0.5, 0.6, seconds=75.0, peak_memory_bytes=3 * 2**30),
        "fold_3": result(0.6, 0.7, 0.5),
    }


def columns(line):
    return re.split(r"\s{2,}", line.strip())


def test_the_protocols_of_three_folds():
    runs = list(folds().values())
    # means of the epochs: 1.5 / 3, 2.0 / 3, 1.8 / 3
    assert common_epoch(runs) == 2
    assert fold_protocols(runs) == {
        "last": [0.7, 0.6, 0.5],
        "best_epoch": [0.8, 0.6, 0.7],  # of epochs 2, 3, 2
        "common_epoch": [0.8, 0.5, 0.7],
    }


def test_the_common_epoch_is_the_first_of_equals_and_one_that_every_fold_reached():
    assert common_epoch([result(0.5, 0.75), result(0.75, 0.5)]) == 1  # 0.625 both
    assert common_epoch([result(0.1, 0.2, 0.9), result(0.1, 0.2)]) == 2


def test_the_spread_is_the_sample_standard_deviation():
    # mean 2, deviations -1, 0, 1: sqrt((1 + 0 + 1) / (3 - 1))
    assert spread([1.0, 2.0, 3.0]) == pytest.approx(1.0)
    # mean 3, deviations -1, 1: sqrt(2 / 1)
    assert spread([2.0, 4.0]) == pytest.approx(2**0.5)
    assert spread([0.7]) == 0.0


def test_the_summary_of_three_folds():
    summary = summarise(folds())
    assert (summary["metric"], summary["cells"]) == ("accuracy", ["fold_1", "fold_2", "fold_3"])
    assert (summary["common_epoch"], summary["best_epochs"]) == (2, [2, 3, 2])
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
    assert [columns(line) for line in lines[2:7]] == [
        ["fold_1", "70.00", "80.00", "80.00"],
        ["fold_2", "60.00", "60.00", "50.00"],
        ["fold_3", "50.00", "70.00", "70.00"],
        ["mean", "60.00", "70.00", "66.67"],
        ["std", "10.00", "10.00", "15.28"],
    ]
    assert len({len(line) for line in lines[:7]}) == 1  # the columns end alike
    assert lines[7].startswith(
        "[1] each fold's best epoch on its own evaluation clips (2, 3, 2): the authors'"
    )
    assert lines[8].startswith("[2] epoch 2, the single one that is best on the mean of the folds")
    assert lines[9:] == ["trainable parameters 1,250 of 100,000 (1.25 %), time 195 s, peak memory 3,072 MiB"]


def with_a_test_list():
    return result(
        0.5,
        0.8,
        0.7,
        watched="valid",
        test_at_best_epoch={"test_loss": 1.0, "test_accuracy": 0.75},
        test_at_last_epoch={"test_loss": 1.0, "test_accuracy": 0.65},
    )


def test_the_summary_of_a_run_with_validation_and_test_lists():
    summary = summarise({"first": with_a_test_list()})
    assert "common_epoch" not in summary
    assert summary["best_epochs"] == [2]
    assert summary["protocols"] == {
        "valid_at_best_epoch": {"values": [0.8], "mean": 0.8, "std": 0.0},
        "test_at_best_epoch": {"values": [0.75], "mean": 0.75, "std": 0.0},
        "test_at_last_epoch": {"values": [0.65], "mean": 0.65, "std": 0.0},
    }


def test_the_table_of_a_run_with_validation_and_test_lists():
    lines = table(summarise({"first": with_a_test_list()})).splitlines()
    assert columns(lines[0]) == [
        "accuracy (%)",
        "valid, chosen epoch [3]",
        "test, chosen epoch [3]",
        "test, last epoch",
    ]
    assert columns(lines[2]) == ["first", "80.00", "75.00", "65.00"]
    # one run has no mean and no spread: the notes follow
    assert lines[3] == "[3] epoch 2, the best on the validation list; the test list chose nothing"
    assert lines[4].startswith("trainable parameters 1,250 of 100,000 (1.25 %), time 60 s")
