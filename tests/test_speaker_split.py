"""Validation speakers of VoxCeleb1: held out of the training speakers, the same in every run."""

import json

import numpy as np
import pytest
from test_experiments import flags_of

from ipet.datasets import Cut, Datasets, EvaluationClips, TrainClips, Trials
from ipet.lists import Clip, Labels
from ipet.speaker_split import MOST_TRIALS, default_number, draw_trials, held_out, hold_out_speakers

import releases
from helpers import ROOT, load_script, parts_of, rows, run_here


def datasets_of(tmp_path, num_speakers=12, videos=3, utterances=2, cohort=False):
    """Lists of speakers with test trials of one other speaker; no file is there."""
    mids = tuple(f"id{10_000 + s}" for s in range(num_speakers))
    labels = Labels(tmp_path / "labels.csv", mids, mids)
    cut = Cut(1_600)
    clips = [
        Clip(tmp_path / f"dev/wav/{mid}/video{v}/{u:05d}.wav", (s,), f"clip {mid} {v} {u}")
        for s, mid in enumerate(mids)
        for v in range(videos)
        for u in range(utterances)
    ]
    test = [Clip(tmp_path / f"test/wav/id1/v{i}/00001.wav", (), f"test {i}") for i in range(4)]
    trials = Trials(np.array([[0, 1], [2, 3]]), np.array([True, False]))
    one_each = [next(clip for clip in clips if clip.classes == (s,)) for s in range(num_speakers)]
    return Datasets(
        TrainClips(clips, labels, cut),
        {"eval": EvaluationClips(test, labels, cut)},
        trials,
        EvaluationClips(one_each, labels, cut) if cohort else None,
    )


def speakers(clips):
    return {clip.path.parts[-3] for clip in clips.clips}


def test_no_validation_speaker_is_in_training_or_test(tmp_path):
    # D9
    whole = datasets_of(tmp_path, cohort=True)
    split = hold_out_speakers(whole, 3)
    chosen = speakers(split.evaluation["valid"])
    assert len(chosen) == 3 and not chosen & speakers(split.train) and not chosen & speakers(split.cohort)
    assert not chosen & speakers(split.evaluation["test"])
    assert chosen | speakers(split.train) == speakers(whole.train)
    assert len(split.train.labels) == 9 and not chosen & set(split.train.labels.mids)
    for clip in split.train.clips:  # each still under its own name
        assert split.train.labels.mids[clip.classes[0]] == clip.path.parts[-3]
    assert split.watched == "valid" and split.reported == "test"
    assert split.trials_of("test") is whole.trials
    assert split.evaluation["test"].clips == whole.evaluation["eval"].clips


def test_validation_trials_are_balanced_fixed_and_cross_videos(tmp_path):
    split = hold_out_speakers(datasets_of(tmp_path), 3)
    clips, (pairs, targets) = split.evaluation["valid"].clips, split.valid_trials
    assert targets.sum() == (~targets).sum() > 0
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs) and (pairs[:, 0] != pairs[:, 1]).all()
    for (a, b), same in zip(pairs, targets):
        one, other = clips[a].path.parts, clips[b].path.parts
        assert (one[-3] == other[-3]) == same
        assert not same or one[-2] != other[-2]
    again = hold_out_speakers(datasets_of(tmp_path), 3)
    assert [clip.path for clip in again.evaluation["valid"].clips] == [clip.path for clip in clips]
    assert np.array_equal(again.valid_trials.pairs, pairs)


def test_validation_speakers_depend_on_their_ids_and_not_on_their_order():
    mids = [f"id{i:05d}" for i in range(10)]
    assert held_out(mids, 2) == ["id00002", "id00007"]
    assert held_out(mids[::-1], 2) == held_out(mids, 2)
    assert len(set(held_out([f"id{i}" for i in range(1_211)], 40))) == 40
    assert [default_number(n) for n in (4, 35, 1_211)] == [2, 3, 40]


def test_trials_of_a_large_set_are_limited(tmp_path):
    split = datasets_of(tmp_path, num_speakers=40, videos=20, utterances=3)
    clips, (pairs, targets) = draw_trials(split.train.clips, split.train.labels)
    assert len(clips) == 40 * 30 and len(pairs) == MOST_TRIALS and targets.sum() == MOST_TRIALS // 2


def test_speakers_of_one_video_have_targets_all_the_same(tmp_path):
    split = hold_out_speakers(datasets_of(tmp_path, videos=1, utterances=3), 2)
    assert split.valid_trials.targets.sum() == 2 * 3


@pytest.mark.parametrize("number", [1, 11, 12, 50])
def test_impossible_numbers_of_validation_speakers_are_refused(tmp_path, number):
    with pytest.raises(ValueError, match=rf"-valid_speakers {number}: .*expected from 2 to 10"):
        hold_out_speakers(datasets_of(tmp_path), number)


def test_trials_of_training_speakers_do_not_go_with_validation_speakers(tmp_path):
    whole = datasets_of(tmp_path)
    trials_e = whole._replace(evaluation={"eval": EvaluationClips(whole.train.clips, *cut_of(whole))})
    with pytest.raises(ValueError, match="the trials name 18 utterances of validation speakers"):
        hold_out_speakers(trials_e, 3)


def cut_of(datasets):
    return datasets.train.labels, datasets.train.cut


def test_a_speaker_with_one_utterance_cannot_validate(tmp_path):
    with pytest.raises(ValueError, match="the only utterance of validation speaker id10003"):
        hold_out_speakers(datasets_of(tmp_path, videos=1, utterances=1), 2)


@pytest.fixture(scope="module")
def voxceleb(tmp_path_factory):
    """A release of four training speakers and its lists, as test_experiments names them."""
    folder = tmp_path_factory.mktemp("data")
    root = releases.make_voxceleb1(folder / "root/voxceleb")
    prepare = load_script(ROOT / "data/prepare.py", "prepare_for_speaker_split")
    assert prepare.main(["voxceleb1", str(root), "-out", str(folder / "voxceleb")]) == 0
    return folder


def test_the_published_protocol_trains_on_all_speakers(voxceleb, tmp_path):
    with parts_of("ast_voxceleb", flags_of("ast_voxceleb", voxceleb, tmp_path)) as (args, (build, *_)):
        assert args.valid_speakers == 0
        from ipet.splits import Cell

        datasets = build(args, Cell(1))
    assert list(datasets.evaluation) == ["eval"] and len(datasets.train.labels) == 4


def test_the_epoch_is_chosen_on_validation_speakers_and_the_test_trials_reported(voxceleb, tmp_path):
    flags = flags_of("ast_voxceleb", voxceleb, tmp_path, "-valid_speakers", 2, "-as_norm", 2)
    folder = run_here("ast_voxceleb", *flags, "-more_trials", voxceleb / "voxceleb/trials_o_cleaned.txt")
    result = json.loads((folder / "seed_1234/result.json").read_text())
    assert result["watched"] == "valid" and "valid_EER" in rows(folder / "seed_1234", "epoch")[0]
    assert 0 <= result["test_at_best_epoch"]["test_EER"] <= 1
    labels = json.loads((folder / "seed_1234/best/adapter_config.json").read_text())["labels"]
    assert [label["mid"] for label in labels] == ["id10001", "id10003"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["protocol"] == "test_at_best_epoch" and summary["metric"] == "EER"
    further = json.loads((folder / "seed_1234/more_trials/trials_o_cleaned.json").read_text())
    assert set(further["last"]) >= {"eval_EER", "eval_minDCF"}
