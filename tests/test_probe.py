"""The linear probe of a backbone: fitted on the training list alone, measured as the experiment measures."""

import sys

import pytest

from pretraining import probe

import releases
from helpers import ROOT, experiment, load_script, write_lists

SMALL = ["-pretrained", "random", "-size", "tiny", "-frame_length", "64"]


@pytest.fixture
def values_of(monkeypatch):
    """``probe.values_of`` that leaves no experiment behind."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def values(name, *flags):
        with experiment(name):
            return probe.values_of(name, [*map(str, flags), *SMALL])

    return values


def test_tones_are_told_apart_on_every_fold_and_permuted_labels_are_not(values_of, tmp_path):
    lists = write_lists(tmp_path, train_1=24, eval_1=16, train_2=24, eval_2=16)
    values = values_of("ast_esc50", "-path_list", lists, "-fold", 2)
    assert len(values) == 2 and min(values) > 0.6  # a tone a class; guessing: 0.25
    text = (lists / "eval_1.json").read_text()
    for a, b in (("00", "x"), ("01", "00"), ("x", "01"), ("02", "x"), ("03", "02"), ("x", "03")):
        text = text.replace(f"/m/{a}", f"/m/{b}")
    (lists / "eval_1.json").write_text(text)
    permuted = values_of("ast_esc50", "-path_list", lists, "-fold", 2)
    assert permuted[0] < 0.1 and permuted[1] == values[1]


def test_wav2vec2_is_probed_on_the_test_list(values_of, tmp_path):
    lists = write_lists(tmp_path, train=24, valid=8, test=16)
    [value] = values_of("w2v_speechcommands", "-path_list", lists)
    assert value > 0.5  # guessing: 0.25


@pytest.mark.parametrize(
    "name, data, release",
    [
        ("ast_fsd50k", "fsd50k", releases.make_fsd50k),
        ("ast_voxceleb", "voxceleb1", releases.make_voxceleb1),
    ],
)
def test_several_labels_and_speakers_have_their_own_metric(values_of, tmp_path, name, data, release):
    prepare = load_script(ROOT / "data/prepare.py", "prepare_for_probe")
    assert prepare.main([data, str(release(tmp_path / data)), "-out", str(tmp_path / "lists")]) == 0
    [value] = values_of(name, "-path_data", tmp_path / data, "-path_list", tmp_path / "lists")
    assert 0 <= value <= 1


def test_the_command_probes_the_shipped_backbone_and_a_random_one(monkeypatch, capsys):
    asked = []

    def values_of(name, flags):
        asked.append((name, flags))
        return [0.5, 0.75]

    monkeypatch.setattr(probe, "values_of", values_of)
    monkeypatch.setattr(sys, "argv", ["probe", "w2v_gtzan", "-fold", "2"])
    probe.main()
    assert asked == [
        ("w2v_gtzan", ["-fold", "2", "-pretrained", "wav2vec2_small"]),
        ("w2v_gtzan", ["-fold", "2", "-pretrained", "random", "-size", "small"]),
    ]
    assert [line.split()[1:3] for line in capsys.readouterr().out.splitlines()] == [
        ["pretrained", "62.50"],
        ["random", "62.50"],
    ]


@pytest.mark.parametrize("name", ["ast_esc50", "w2v_esc50"])
def test_the_random_network_is_the_shipped_one_but_for_its_weights(name):
    with experiment(name) as load:
        get_args, build_model = load("arguments").get_args, load("model").build_model
        shapes = []
        for flags in (probe.RANDOM[name[:3]], ["-pretrained", probe.SHIPPED[name[:3]]]):
            args = get_args(["-name", "x", "-method", "linear", "-frame_length", "64", *flags])
            shapes.append({key: t.shape for key, t in build_model(args, 3).state_dict().items()})
    shapes[0].pop("backbone.model.masked_spec_embed", None)  # the shipped one masks nothing
    assert shapes[0] == shapes[1]
