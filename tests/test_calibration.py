"""Temperature, calibration error and thresholds: against closed forms, and in a run."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import f1_score

from ipet import inference
from ipet.calibration import (
    best_thresholds,
    calibration_error,
    clip_scores,
    fit_temperature,
    original_predictions,
    probabilities,
)
from ipet.classification import ClassificationTrainer
from ipet.trainer import Trainer

from helpers import run_here, tiny, write_lists

RNG = np.random.default_rng(0)


def drawn(loss, sharpness, num_clips=4000, num_classes=5):
    """Logits ``sharpness`` times as large as they should be, and what was drawn of the right ones."""
    logits = RNG.normal(size=(num_clips, 1, num_classes)) * 2
    if loss == "cce":
        classes = [RNG.choice(num_classes, p=p) for p in softmax(logits[:, 0], axis=-1)]
        targets = np.eye(num_classes)[classes]
    else:
        targets = (RNG.random((num_clips, num_classes)) < 1 / (1 + np.exp(-logits[:, 0]))).astype(float)
    return sharpness * logits, targets


@pytest.mark.parametrize("loss", ["cce", "bce"])
@pytest.mark.parametrize("sharpness", [0.5, 1, 4])
def test_the_temperature_undoes_what_made_the_logits_too_sure(loss, sharpness):
    outputs, targets = drawn(loss, sharpness)
    temperature = fit_temperature(outputs, targets, loss)
    assert temperature == pytest.approx(sharpness, rel=0.1)
    mended = calibration_error(probabilities(outputs, loss, temperature), targets, loss)
    assert mended < 0.03
    if sharpness != 1:
        assert calibration_error(probabilities(outputs, loss), targets, loss) > 2 * mended


def test_probabilities_are_those_of_torch_and_their_mean_over_segments():
    outputs = RNG.normal(size=(7, 3, 4))
    logits = torch.from_numpy(outputs)
    np.testing.assert_allclose(probabilities(outputs, "cce"), logits.softmax(-1).mean(1))
    np.testing.assert_allclose(probabilities(outputs, "bce"), logits.sigmoid().mean(1))
    one = outputs[:, :1]
    np.testing.assert_allclose(probabilities(one, "cce", 2.0), (logits[:, 0] / 2).softmax(-1))
    np.testing.assert_allclose(probabilities(one, "bce", 2.0), (logits[:, 0] / 2).sigmoid())


@pytest.mark.parametrize("loss", ["cce", "bce"])
def test_a_temperature_changes_no_clip_s_answer_of_several_segments(loss):  # A5
    outputs = 5 * RNG.normal(size=(500, 4, 6))
    answers = clip_scores(outputs, loss).argmax(axis=1)
    for temperature in (0.3, 1, 4):
        np.testing.assert_array_equal(probabilities(outputs, loss, temperature).argmax(axis=1), answers)
        ranks = np.argsort(probabilities(outputs, "bce", temperature), axis=0)
        np.testing.assert_array_equal(ranks, np.argsort(clip_scores(outputs, "bce"), axis=0))


@pytest.mark.parametrize("loss", ["cce", "bce"])
def test_scores_of_very_sure_segments_are_finite_and_apart(loss):
    outputs = np.array([[[90.0, -90, 0], [80, -80, 0]], [[91.0, -90, 0], [80, -80, 0]]], dtype=np.float32)
    scores = clip_scores(outputs, loss)
    assert np.isfinite(scores).all() and scores[1, 1] < scores[0, 1] + 1e-9
    assert (scores.argmax(axis=1) == 0).all()


def test_the_calibration_error_is_that_of_the_bins():
    # 4 clips said with 0.9, 3 of them right; 2 with 0.6, none right: (4 |0.9 - 0.75| + 2 |0.6 - 0|) / 6
    predicted = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2)
    targets = np.array([[1, 0]] * 3 + [[0, 1]] + [[1, 0]] * 2)
    assert calibration_error(predicted, targets, "cce") == pytest.approx((4 * 0.15 + 2 * 0.6) / 6)
    assert calibration_error(targets.astype(float), targets, "bce") == 0


def test_thresholds_have_the_best_f1_and_lie_between_scores():
    targets = (RNG.random((60, 3)) < 0.3).astype(int)
    predicted = np.round(np.clip(0.3 * targets + 0.6 * RNG.random((60, 3)), 0, 1), 2)  # with ties
    targets[:, 2] = 0
    thresholds = best_thresholds(predicted, targets)
    assert thresholds[2] == 0.5
    for c in range(2):
        every = [f1_score(targets[:, c], predicted[:, c] >= t) for t in np.linspace(0.001, 0.999, 999)]
        assert f1_score(targets[:, c], predicted[:, c] >= thresholds[c]) == pytest.approx(max(every))
        assert not np.isin(thresholds[c], predicted[:, c])


@pytest.mark.parametrize("name", ["w2v_speechcommands", "ast_fsd50k"])
def test_a_run_with_a_validation_list_is_calibrated_and_its_adapter_says_so(tmp_path, name):
    lists = write_lists(tmp_path / "lists", train=8, valid=6, test=5)
    flags = ["-frame_length", 64 if name == "ast_fsd50k" else 40, "-epoch", 1, "-batch_size", 4]
    folder = run_here(name, *tiny(lists, tmp_path / "runs", *flags)) / "seed_1234"
    found = json.loads((folder / "result.json").read_text())["calibration"]
    description = json.loads((folder / "best/adapter_config.json").read_text())
    assert description["calibration"]["temperature"] == found["temperature"] > 0
    assert 0 <= found["error"] <= 1 and 0 <= found["error_before"] <= 1
    assert ("thresholds" in found) == (name == "ast_fsd50k")
    assert "calibration" not in json.loads((folder / "last/adapter_config.json").read_text())


@pytest.mark.parametrize("best", [1, 2])
def test_what_was_evaluated_at_the_best_epoch_is_not_evaluated_again(tmp_path, monkeypatch, best):
    lists = write_lists(tmp_path / "lists", train=8, valid=6, test=5)
    flags = ["-frame_length", 40, "-epoch", 2, "-batch_size", 4, "-frozen_dropout", "False"]
    flags += ["-test_every_epoch", "False"]
    heard, predict, evaluate = [], Trainer.predict, Trainer.evaluate

    def chosen(self, name):
        """The list's values, in which the epoch is the best that should be."""
        values = evaluate(self, name)
        return values | ({"valid_accuracy": float(self.epoch + 1 == best)} if name == "valid" else {})

    monkeypatch.setattr(Trainer, "evaluate", chosen)
    monkeypatch.setattr(
        Trainer, "predict", lambda self, clips: heard.append(len(clips)) or predict(self, clips)
    )
    kept = run_here("w2v_speechcommands", *tiny(lists, tmp_path / "kept", *flags)) / "seed_1234"
    assert heard == [6, 6, 5] + [5] * (best == 1)
    nothing = property(lambda self: None, lambda self, value: None)
    monkeypatch.setattr(Trainer, "best_outputs", nothing, raising=False)
    anew = run_here("w2v_speechcommands", *tiny(lists, tmp_path / "anew", *flags)) / "seed_1234"
    assert heard[-2 - (best == 1) :] == [5, 6] + [5] * (best == 1)
    one, other = (json.loads((folder / "result.json").read_text()) for folder in (kept, anew))
    for name in ("test_at_best_epoch", "test_at_last_epoch", "calibration"):
        assert one[name] == other[name]
    assert one["best_epoch"] == best
    for name in ("scores", "targets"):
        np.testing.assert_array_equal(*(np.load(folder / "predictions.npz")[name] for folder in (kept, anew)))


def test_the_temperature_and_the_thresholds_are_used():
    front_end = torch.nn.Module()
    front_end.num_segments, front_end.num_samples = 1, 100
    model = torch.nn.Module()
    model.front_end, model.weight = front_end, torch.nn.Parameter(torch.zeros(1))
    labels = [{"mid": "/m/0", "name": "dog"}, {"mid": "/m/1", "name": "rain"}]
    description = {"labels": labels, "loss": "bce"}
    said = {"temperature": 2.0, "thresholds": [0.2, 0.7]}
    cut = inference.Cut(100)
    plain = inference.TunedModel(model, cut, description)
    tuned = inference.TunedModel(model, cut, {**description, "calibration": said})
    logits = torch.tensor([[2.0, -2.0]])
    np.testing.assert_allclose(plain.answer(logits), torch.sigmoid(logits)[0], rtol=1e-6)
    np.testing.assert_allclose(tuned.answer(logits), torch.sigmoid(logits / 2)[0], rtol=1e-6)
    window = inference.Window(0.0, 1.0, np.array([0.3, 0.6]))
    assert [event.name for event in plain.events([window])] == ["rain"]
    assert [event.name for event in tuned.events([window])] == ["dog"]
    assert [event.name for event in tuned.events([window], threshold=0.1)] == ["dog", "rain"]


# One rule for segments (A5) -----------------------------------------------------------------------------

SEGMENTS = np.array([[[20.0, 10.0, 0.0], [0.0, 0.2, -5.0]]], dtype=np.float32)  # [1, S, C]


def evaluated(outputs, targets, loss):
    """The values and the scores that a trainer measures."""
    lists = {"eval": SimpleNamespace(targets=lambda: targets)}
    trainer = SimpleNamespace(datasets=SimpleNamespace(evaluation=lists), loss=loss, metric="accuracy")
    return ClassificationTrainer.measure(trainer, "eval", outputs)


def answer(outputs, loss):
    """The probabilities that ``predict`` gives for one clip."""
    model = torch.nn.Module()
    model.front_end = SimpleNamespace(num_segments=outputs.shape[0], num_samples=100)
    model.weight = torch.nn.Parameter(torch.zeros(1))
    labels = [{"mid": f"/m/{i}", "name": f"class {i}"} for i in range(outputs.shape[1])]
    return inference.TunedModel(model, inference.Cut(100), {"labels": labels, "loss": loss}).answer(
        torch.from_numpy(outputs)
    )


def test_evaluation_and_predict_answer_alike_where_sigmoids_would_not():  # A5
    targets = np.array([[1, 0, 0]], dtype=np.float32)
    values, kept = evaluated(SEGMENTS, targets, "cce")
    assert values["accuracy"] == 1.0 and kept["scores"].argmax() == answer(SEGMENTS[0], "cce").argmax() == 0
    assert original_predictions(SEGMENTS).argmax() == 1  # the original's, which has columns of its own


@pytest.mark.parametrize("loss", ["cce", "bce"])
def test_evaluation_and_predict_answer_every_clip_of_segments_alike(loss):  # A5
    outputs = 8 * np.random.default_rng(0).standard_normal((200, 5, 6)).astype(np.float32)
    targets = np.eye(6, dtype=np.float32)[np.arange(200) % 6]
    _, kept = evaluated(outputs, targets, loss)
    np.testing.assert_array_equal(kept["scores"].argmax(1), [answer(clip, loss).argmax() for clip in outputs])
