"""The two experiments for one's own recordings: what the lists say themselves need not be said again."""

import json

import pytest

from helpers import experiment, run_here, tiny, write_lists

LISTS = {
    "folds": {"train_1": 9, "eval_1": 5, "train_2": 8, "eval_2": 6},
    "splits": {"train": 9, "valid": 5, "test": 6},
}
SHORT = ["-frame_length", 64, "-epoch", 1, "-batch_size", 4]


def make_several(folder):
    """Give the first clip of every list a second label."""
    for path in folder.glob("*.json"):
        data = json.loads(path.read_text())
        data["data"][0]["labels"] = "/m/00,/m/01"
        path.write_text(json.dumps(data))


@pytest.mark.parametrize("several", [False, True], ids=["one label", "several labels"])
@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("name", ["ast_custom", "w2v_custom"])
def test_any_lists_are_trained_on(tmp_path, name, kind, several):
    lists = write_lists(tmp_path / "lists", **LISTS[kind])
    if several:
        make_several(lists)
    folder = run_here(name, *tiny(lists, tmp_path / "runs", *SHORT))
    cells = sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("result.json"))
    assert cells == (["seed_1234"] if kind == "splits" else ["seed_1234/fold_1", "seed_1234/fold_2"])
    result = json.loads((folder / cells[0] / "result.json").read_text())
    assert result["metric"] == ("mAP" if several else "accuracy")
    assert result["watched"] == ("valid" if kind == "splits" else "eval")
    description = json.loads((folder / cells[0] / "last/adapter_config.json").read_text())
    assert description["loss"] == ("bce" if several else "cce")


def test_the_normalisation_is_that_of_the_lists(tmp_path):
    lists = write_lists(tmp_path / "lists", train=4, valid=4, test=4)
    with experiment("ast_custom") as load:
        get_args = load("arguments").get_args
        args = get_args(["-name", "a", "-path_list", str(lists)])
        assert (args.norm_mean, args.norm_std) == (-4.2677393, 4.5689974)  # AudioSet's
        (lists / "stats.json").write_text(json.dumps({"mean": -7.5, "std": 3.25}))
        args = get_args(["-name", "a", "-path_list", str(lists), "-norm_std", "4"])
        assert (args.norm_mean, args.norm_std) == (-7.5, 4.0)
        args = get_args(["-name", "a", "-path_list", str(tmp_path / "nothing")])
        assert args.fold == 0 and args.classification_loss == "cce"


@pytest.mark.parametrize("text", ["{", "[1]", '{"data": [{}]}', '{"data": 3}', "[" * 100_000])
def test_lists_that_cannot_be_read_are_told_by_what_reads_them(tmp_path, text):
    lists = write_lists(tmp_path / "lists", train=4, valid=4, test=4)
    (lists / "train.json").write_text(text)
    with pytest.raises(ValueError, match=r"train\.json"):
        run_here("w2v_custom", *tiny(lists, tmp_path / "runs", *SHORT))
