"""From each dataset as it is released to a trained adapter: prepare, train one epoch, evaluate."""

import itertools
import json

import numpy as np
import pytest
import safetensors.torch

from ipet.arguments import METHODS
from ipet.verification_metrics import eer

import releases
from helpers import EXPERIMENTS, ROOT, load_script, long, rows, run_here, run_there

RELEASES = {  # by the folder of data/ that lists go to: name, what makes it
    "esc50": ("esc50", releases.make_esc50),
    "fsd50k": ("fsd50k", releases.make_fsd50k),
    "gtzan": ("gtzan", releases.make_gtzan),
    "speechcommands": ("speech_commands", releases.make_speech_commands),
    "voxceleb": ("voxceleb1", releases.make_voxceleb1),
    "musan": ("musan", releases.make_musan),
    "rirs": ("rirs", releases.make_rirs),
}
FOLDS = {"esc50": 5, "gtzan": 10}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Every release in ``<folder>/root/<dataset>``, its lists in ``<folder>/<dataset>``."""
    folder = tmp_path_factory.mktemp("data")
    prepare = load_script(ROOT / "data/prepare.py", "prepare_for_experiments")
    for dataset, (name, make) in RELEASES.items():
        root = make(folder / "root" / dataset)
        assert prepare.main([name, str(root), "-out", str(folder / dataset)]) == 0
    return folder


def flags_of(name, prepared, runs, *more):
    """A run of seconds: a tiny backbone of random weights, few frames, one epoch, one fold."""
    backbone, dataset = name.split("_")
    flags = ["-name", name, "-path_run", runs, "-path_list", prepared / dataset, "-epoch", 1]
    flags += ["-path_data", prepared / "root" / dataset, "-pretrained", "random", "-size", "tiny"]
    flags += ["-precision", "fp32", "-frame_length", 32 if backbone == "ast" else 40, "-batch_size", 8]
    if "-method" not in more:
        flags += ["-embedding_prompt_num", 3, "-adapter_hidden_dim", 4]
    if backbone == "ast":
        flags += ["-freqm", 8, "-timem", 8]
    if dataset in FOLDS:
        flags += ["-fold", 1]
    if name == "w2v_voxceleb":
        flags += ["-path_noise_list", prepared, "-path_musan", prepared / "root/musan"]
        flags += ["-path_rir", prepared / "root/rirs"]
    return [*flags, *more]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_on_the_release_of_its_dataset(name, prepared, tmp_path):
    folder = run_here(name, *flags_of(name, prepared, tmp_path))
    dataset = name.split("_")[1]
    cell = folder / "seed_1234" / ("fold_1" if dataset in FOLDS else "")
    result = json.loads((cell / "result.json").read_text())
    assert np.isfinite([row["loss"] for row in rows(cell, "step")]).all()
    metric = {"fsd50k": "mAP", "voxceleb": "EER"}.get(dataset, "accuracy")
    assert result["metric"] == metric and result["tuning"]["method"] == "ipet"
    summary = json.loads((folder / "summary.json").read_text())
    reported = summary["protocols"][summary["protocol"]]
    assert 0 <= reported["mean"] <= 1 and len(reported["interval"]) == 2
    description = json.loads((cell / "best/adapter_config.json").read_text())
    num_classes = {"esc50": 2, "fsd50k": 3, "gtzan": 2, "speechcommands": 3, "voxceleb": 4}[dataset]
    assert len(description["labels"]) == num_classes
    segments = {"gtzan": 10, "voxceleb": 5}.get(dataset, 1)
    assert description["front_end"]["num_segments"] == segments
    kept = np.load(cell / "predictions.npz")
    if dataset == "voxceleb":
        assert kept["scores"].shape == (15,)  # of six utterances, each pair
        assert eer(kept["scores"], kept["targets"]) == pytest.approx(reported["mean"])
        assert (cell / "det.png").is_file() and (cell / "scores.png").is_file()
        assert set(summary["details"]) == {"minDCF", "minDCF10"}
        tensors = safetensors.torch.load((cell / "best/adapter_model.safetensors").read_bytes())
        assert tensors["head.embed.weight"].shape[0] == 128
    else:
        assert kept["scores"].shape == kept["targets"].shape and kept["scores"].shape[1] == num_classes
    if dataset == "fsd50k":
        assert set(summary["details"]) == {"mAUC", "d_prime"}
        assert kept["targets"].sum(axis=1).max() > 1
        lines = (cell / "per_class_ap.csv").read_text().splitlines()
        values = [float(line.split(",")[-1]) for line in lines[1:]]
        assert len(values) == 3 and np.nanmean(values) == pytest.approx(reported["mean"], abs=1e-5)


@long
def test_every_fold_of_gtzan_is_trained(prepared, tmp_path):
    flags = flags_of("ast_gtzan", prepared, tmp_path, "-fold", 10)
    summary = json.loads((run_here("ast_gtzan", *flags) / "summary.json").read_text())
    assert len(summary["protocols"]["common_epoch"]["values"]) == 10
    assert set(summary["protocols"]["last"]["values"].values()) <= {
        0.0,
        1 / 3,
        0.5,
        2 / 3,
        1.0,
    }  # of 1 to 3 clips


VARIANTS = [[method] for method in METHODS if method != "ipet"]  # ipet is in every test above
VARIANTS += [["adapter", "-adapter_position", position] for position in ("sequential", "houlsby")]
VARIANTS += [["ipet", "-budget", "5k"], ["lora", "-budget", "5k"]]


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
@pytest.mark.parametrize("name", ["ast_esc50", "w2v_speechcommands"])
def test_every_method_trains(name, variant, prepared, tmp_path):
    if name.startswith("w2v") and variant[0] == "input_prompt":
        with pytest.raises(ValueError, match="spectrogram"):
            run_here(name, *flags_of(name, prepared, tmp_path, "-method", "input_prompt"))
        return
    border = ["-border", 4] if variant[0] == "input_prompt" else []
    folder = run_here(name, *flags_of(name, prepared, tmp_path, "-method", *variant, *border))
    cell = folder / ("seed_1234/fold_1" if name == "ast_esc50" else "seed_1234")
    result = json.loads((cell / "result.json").read_text())
    assert result["tuning"]["method"] == variant[0]
    tensors = safetensors.torch.load((cell / "last/adapter_model.safetensors").read_bytes())
    assert sum(t.numel() for t in tensors.values()) == result["trainable_parameters"]
    if variant[0] == "finetune":
        assert result["trainable_parameters"] == result["all_parameters"]
    if "-budget" in variant:
        assert 4_500 < result["trainable_parameters"] <= 5_000


@pytest.mark.parametrize("model_type", ["hubert", "wavlm"])
def test_hubert_and_wavlm_take_the_place_of_wav2vec2(model_type, prepared, tmp_path):
    flags = flags_of("w2v_speechcommands", prepared, tmp_path, "-model_type", model_type)
    folder = run_here("w2v_speechcommands", *flags)
    description = json.loads((folder / "seed_1234/last/adapter_config.json").read_text())
    assert description["backbone"]["config"]["model_type"] == model_type


def test_trials_can_be_scored_by_cosine_and_normalised_by_a_cohort(prepared, tmp_path):
    more = ["-scoring", "cosine", "-as_norm", 3, "-path_trial", prepared / "voxceleb/trials_o_cleaned.txt"]
    folder = run_here("ast_voxceleb", *flags_of("ast_voxceleb", prepared, tmp_path, *more))
    summary = json.loads((folder / "summary.json").read_text())
    assert {"EER_as_norm", "minDCF_as_norm", "minDCF10_as_norm"} <= set(summary["details"])
    assert np.load(folder / "seed_1234/predictions.npz")["as_norm"].shape == (14,)


def test_a_trial_of_an_unknown_utterance_is_refused_before_training(prepared, tmp_path):
    trials = tmp_path / "trials.txt"
    known = (prepared / "voxceleb/trials.txt").read_text().splitlines()
    trials.write_text("\n".join([*known, "1 id10270/nowhere/00001.wav id10270/nowhere/00002.wav"]))
    flags = flags_of("ast_voxceleb", prepared, tmp_path / "runs", "-path_trial", trials)
    with pytest.raises(ValueError, match=r"trials\.txt.*16.*id10270/nowhere/00001\.wav"):
        run_here("ast_voxceleb", *flags)
    assert not (tmp_path / "runs").exists()


def test_trials_among_training_speakers_are_scored_with_a_note(prepared, tmp_path, capsys):
    """As the lists E and H of VoxCeleb1 are, which go over all of its speakers."""
    train = json.loads((prepared / "voxceleb/train.json").read_text())["data"]
    names = [clip["wav"].removeprefix("dev/wav/") for clip in train]
    lines = [f"{int(a[:7] == b[:7])} {a} {b}" for a, b in itertools.pairwise(names)]
    (tmp_path / "e.txt").write_text("\n".join(lines))
    run_here("ast_voxceleb", *flags_of("ast_voxceleb", prepared, tmp_path, "-path_trial", tmp_path / "e.txt"))
    assert "note: 12 of the 12 utterances of the trials are in the training list" in capsys.readouterr().out


def test_a_finished_run_is_scored_on_further_trial_lists(prepared, tmp_path):
    flags = flags_of("ast_voxceleb", prepared, tmp_path)
    folder = run_here("ast_voxceleb", *flags)
    result = (folder / "seed_1234/result.json").read_bytes()
    lists = prepared / "voxceleb"
    more = [lists / "trials_o_cleaned.txt", lists / "trials_o.txt"]
    run_here("ast_voxceleb", *flags, "-resume", "-more_trials", *more)
    assert (folder / "seed_1234/result.json").read_bytes() == result
    scored = json.loads((folder / "seed_1234/more_trials/trials_o.json").read_text())
    history = json.loads(result)["history"]  # of the same list, under the name trials.txt
    assert scored["last"] == pytest.approx({k: v for k, v in history[-1].items() if k.startswith("eval_")})
    assert (folder / "seed_1234/more_trials/trials_o_cleaned.json").is_file()
    assert (folder / "seed_1234/more_trials/trials_o_det.png").is_file()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        run_here("ast_voxceleb", *flags, "-resume", "-more_trials", tmp_path / "nowhere.txt")


def test_without_the_lists_of_musan_it_says_how_to_get_them(prepared, tmp_path):
    flags = flags_of("w2v_voxceleb", prepared, tmp_path, "-path_noise_list", tmp_path)
    flags += ["-path_musan", tmp_path, "-path_rir", tmp_path]  # neither lists nor the extracted releases
    with pytest.raises(FileNotFoundError, match=r"data/prepare\.py musan PATH.*-add_musan_rir False"):
        run_here("w2v_voxceleb", *flags)


def test_a_cohort_larger_than_the_speakers_is_refused(prepared, tmp_path):
    with pytest.raises(ValueError, match="-as_norm 300: scores are normalised over 2 to 4 training speakers"):
        run_here("ast_voxceleb", *flags_of("ast_voxceleb", prepared, tmp_path, "-as_norm", 300))
    assert not (tmp_path / "IPET").exists()


@long
def test_two_processes_verify_and_corrupt_as_one(prepared, tmp_path):
    exact = ["-frozen_dropout", "False", "-adapter_dropout", 0, "-as_norm", 3]
    flags = flags_of("w2v_voxceleb", prepared, tmp_path / "two", *exact)
    status, _, err = run_there("w2v_voxceleb", *flags, "-nproc", 2)
    assert status == 0, err
    one = run_here("w2v_voxceleb", *flags, "-path_run", tmp_path / "one") / "seed_1234"
    two = tmp_path / "two" / one.relative_to(tmp_path / "one")
    for kind in ("step", "epoch"):
        for ours, theirs in zip(rows(two, kind), rows(one, kind), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)
    scores = [np.load(run / "predictions.npz")["scores"] for run in (two, one)]
    np.testing.assert_allclose(*scores, atol=1e-5)
