"""Metrics: by hand, and the authors' numbers."""

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ipet.metrics import accuracy, average_precision, d_prime, mean_auc, mean_average_precision
from ipet.verification_metrics import WeightedErrorRates, det_curve, eer, min_dcf, trial_speakers

from parity import load, needs_parity


def column(*values):
    return np.array(values)[:, None]


def test_accuracy_of_three_clips():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])  # guesses 1, 0, 2
    targets = np.eye(3)[[1, 2, 2]]  # right, wrong, right
    assert accuracy(scores, targets) == pytest.approx(2 / 3)


def test_average_precision_of_three_clips():
    # by score: hit, miss, hit -> precision 1/1 and 2/3 at the hits
    [ap] = average_precision(column(0.9, 0.8, 0.7), column(1, 0, 1))
    assert ap == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_of_tied_scores_is_their_common_precision():
    # all three at one threshold: precision 1/3 when recall goes from 0 to 1
    [ap] = average_precision(column(0.5, 0.5, 0.5), column(0, 1, 0))
    assert ap == pytest.approx(1 / 3)


def test_a_class_without_positives_has_no_average_precision_and_is_left_out_of_the_mean():
    scores = np.array([[0.9, 0.4], [0.8, 0.6], [0.7, 0.5]])
    targets = np.array([[1, 0], [0, 0], [1, 0]])
    np.testing.assert_allclose(average_precision(scores, targets), [5 / 6, np.nan])
    assert mean_average_precision(scores, targets) == pytest.approx(5 / 6)


def test_auc_is_the_share_of_pairs_in_the_right_order():
    # positives 0.9 and 0.7 against the negative 0.8: one pair of two is in order
    assert mean_auc(column(0.9, 0.8, 0.7), column(1, 0, 1)) == pytest.approx(1 / 2)
    # a tie counts half: (1 + 1/2) / 2
    assert mean_auc(column(0.9, 0.8, 0.8), column(1, 0, 1)) == pytest.approx(3 / 4)


def test_auc_leaves_out_classes_that_all_or_no_clips_have():
    scores = np.array([[0.9, 0.1, 0.3], [0.8, 0.2, 0.2], [0.7, 0.3, 0.1]])
    targets = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert mean_auc(scores, targets) == 1.0  # of the first class alone


def test_d_prime_is_zero_at_chance_and_root_two_at_one_deviation():
    assert d_prime(0.5) == pytest.approx(0.0, abs=1e-12)
    assert d_prime(0.8413447460685429) == pytest.approx(2**0.5)  # the normal distribution at 1


@needs_parity
@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("epoch", range(3))
def test_metrics_are_the_authors(kind, epoch):
    data = load("metrics.npz")
    scores, targets = data[f"{kind}_predictions"][epoch].astype(np.float64), data[f"{kind}_labels"]
    auc = mean_auc(scores, targets)
    got = {
        "acc": accuracy(scores, targets),
        "mAP": mean_average_precision(scores, targets),
        "mAUC": auc,
        "d_prime": d_prime(auc),
    }
    want = {name: data[f"{kind}_{name}"][epoch] for name in got}
    assert got == pytest.approx(want, abs=1e-9)


@needs_parity
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_average_precision_of_every_class_is_the_authors(kind):
    data = load("metrics.npz")
    scores, targets = data[f"{kind}_predictions"][-1].astype(np.float64), data[f"{kind}_labels"]
    np.testing.assert_allclose(
        average_precision(scores, targets), data[f"{kind}_AP_per_class"], atol=1e-9, rtol=0
    )
    aucs = [mean_auc(scores[:, [c]], targets[:, [c]]) for c in range(targets.shape[1])]
    np.testing.assert_allclose(aucs, data[f"{kind}_AUC_per_class"], atol=1e-9, rtol=0)


def test_without_a_usable_class_a_mean_is_not_a_number():
    scores = np.array([[0.1, 0.9], [0.2, 0.8]])
    nothing = np.zeros((2, 2))
    assert np.isnan(mean_average_precision(scores, nothing))
    assert np.isnan(mean_auc(scores, nothing))


# Verification -------------------------------------------------------------------------------------


def gaussian_trials(num_trials, distance, seed=0):
    """Scores of deviation 1 around 0 for nontargets and ``distance`` for targets; half are targets."""
    rng = np.random.default_rng(seed)
    targets = rng.random(num_trials) < 0.5
    return rng.standard_normal(num_trials) + distance * targets, targets


def test_the_det_curve_of_four_trials():
    # accepting from the highest score on: target, nontarget, target, nontarget
    false_alarm, miss = det_curve(np.array([0.9, 0.7, 0.6, 0.1]), np.array([1, 0, 1, 0]))
    assert false_alarm.tolist() == [0, 0, 1 / 2, 1 / 2, 1]
    assert miss.tolist() == [1, 1 / 2, 1 / 2, 0, 0]
    assert eer(np.array([0.9, 0.7, 0.6, 0.1]), np.array([1, 0, 1, 0])) == 1 / 2


def test_the_equal_error_rate_lies_on_the_line_between_two_thresholds():
    # Scores 3 (target), 2 (target and nontarget, tied), 1 (nontarget): the curve goes from
    # (false alarms 0, misses 1/2) to (1/2, 0), and false alarms equal misses half way.
    assert eer(np.array([3.0, 2.0, 2.0, 1.0]), np.array([1, 1, 0, 0])) == 1 / 4


def test_error_rates_of_perfect_reversed_and_constant_scores():
    targets = np.array([1, 1, 0, 0, 0])
    assert eer(targets * 1.0, targets) == 0
    assert eer(-targets * 1.0, targets) == 1
    assert eer(np.zeros(5), targets) == 1 / 2
    assert min_dcf(targets * 1.0, targets) == 0
    assert min_dcf(np.zeros(5), targets) == 1  # accepting nothing costs what it is normalised by


def test_the_equal_error_rate_of_two_gaussians_is_the_tail_behind_half_their_distance():
    scores, targets = gaussian_trials(200_000, distance=2)
    assert eer(scores, targets) == pytest.approx(0.158655, abs=0.003)  # of the normal distribution at -1


def test_the_detection_cost_of_four_trials():
    # (miss, false alarm) when 0, 1, ... 4 are accepted: (1, 0), (1/2, 0), (1/2, 1/2), (0, 1/2), (0, 1).
    # At p = 0.5 the costs are (miss + false alarm) / 2 / 0.5: the least is 1/2.
    scores, targets = np.array([0.9, 0.7, 0.6, 0.1]), np.array([1, 0, 1, 0])
    assert min_dcf(scores, targets, p_target=0.5) == pytest.approx(1 / 2)
    # At p = 0.8, c_miss = 1, c_fa = 2: 0.8 miss + 0.4 false alarm, least 0.2, over min(0.8, 0.4)
    assert min_dcf(scores, targets, p_target=0.8, c_fa=2) == pytest.approx(0.2 / 0.4)


def test_the_detection_cost_is_the_least_over_brute_force_thresholds():
    scores, targets = gaussian_trials(300, distance=1.5)
    scores = scores.round(1)  # ties
    costs = [
        0.05 * 3 * np.mean(scores[targets] < t) + 0.95 * np.mean(scores[~targets] >= t)
        for t in [*np.unique(scores), np.inf]
    ]
    want = min(costs) / min(0.05 * 3, 0.95)
    assert min_dcf(scores, targets, p_target=0.05, c_miss=3) == pytest.approx(want)


def test_error_rates_do_not_depend_on_the_order_of_the_trials_or_a_rising_map_of_the_scores():
    scores, targets = gaussian_trials(500, distance=1)
    scores = scores.round(1)
    shuffled = np.random.default_rng(1).permutation(500)
    for metric in (eer, min_dcf):
        assert metric(scores[shuffled], targets[shuffled]) == metric(scores, targets)
        assert metric(np.exp(scores), targets) == metric(scores, targets)


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        ([0.1, 0.2], [1, 1], "2 of the 2 trials are targets; expected targets and nontargets"),
        ([0.1, 0.2], [0, 0], "0 of the 2 trials are targets"),
        ([], [], "0 of the 0 trials are targets"),
        ([0.1, np.nan], [0, 1], "1 of the 2 scores are not finite, the first is nan of trial 1"),
        ([np.inf, 0.1], [0, 1], "the first is inf of trial 0"),
        ([0.1, 0.2], [1, 0, 1], r"scores of shape \[2\] and targets of shape \[3\]"),
        ([0.1, 0.2], [1, 2], "other values than 0 and 1"),
    ],
)
@pytest.mark.parametrize("metric", [eer, min_dcf, det_curve, WeightedErrorRates])
def test_trials_without_error_rates_are_refused(metric, scores, targets, message):
    with pytest.raises(ValueError, match=message):
        metric(np.array(scores), np.array(targets))


def test_a_detection_cost_needs_a_probability_and_costs():
    with pytest.raises(ValueError, match=r"p_target=1.5, c_miss=1.0, c_fa=1.0; expected a probability"):
        min_dcf(np.array([0.0, 1.0]), np.array([0, 1]), p_target=1.5)


def test_the_error_rates_of_voxceleb1_take_a_moment():
    scores, targets = gaussian_trials(37_720, distance=3)
    start = time.perf_counter()
    eer(scores, targets), min_dcf(scores, targets)
    assert time.perf_counter() - start < 1  # 0.01 s on an idle machine


@pytest.mark.parametrize("digits", [1, 6])  # many ties, none
def test_average_precision_and_auc_are_scikit_learn_s(digits):
    rng = np.random.default_rng(0)
    targets = rng.random((120, 5)) < [0.02, 0.1, 0.5, 0.9, 0.3]
    targets[0] = [1, 0, 1, 0, 1]
    scores = (rng.standard_normal((120, 5)) + targets).round(digits)
    want = [average_precision_score(targets[:, c], scores[:, c]) for c in range(5)]
    np.testing.assert_allclose(average_precision(scores, targets), want, atol=1e-12)
    aucs = [roc_auc_score(targets[:, c], scores[:, c]) for c in range(5)]
    assert mean_auc(scores, targets) == pytest.approx(np.mean(aucs), abs=1e-12)


@needs_parity
@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("epoch", range(3))
def test_metrics_of_the_running_mean_of_predictions_are_the_authors(kind, epoch):  # D8
    data = load("metrics.npz")
    total = np.zeros_like(data[f"{kind}_predictions"][0], dtype=np.float32)  # as a training sums them
    for predictions in data[f"{kind}_predictions"][: epoch + 1]:
        total = total + predictions.astype(np.float32)
    mean, targets = total / (epoch + 1), data[f"{kind}_labels"]
    got = {
        "mAP": mean_average_precision(mean, targets),
        "mAUC": mean_auc(mean, targets),
        "acc": accuracy(mean, targets),
    }
    assert got == pytest.approx({name: data[f"{kind}_cum_{name}"][epoch] for name in got}, abs=1e-9)


# Speakers of trials (A7) ----------------------------------------------------------------------------


def test_utterances_of_target_trials_and_of_one_label_have_one_speaker():
    pairs, targets = np.array([[0, 1], [1, 2], [3, 4], [0, 3], [4, 5]]), np.array([1, 1, 0, 0, 0])
    (one, other) = trial_speakers(pairs, targets)[[0, 1]]
    assert len({*one, *other}) == 1
    assert len(np.unique(trial_speakers(pairs, targets))) == 4  # 0 1 2, 3, 4, 5
    names = ["ann", "ann", "ann", "bob", "cid", "bob"]
    assert len(np.unique(trial_speakers(pairs, targets, names))) == 3


def test_labels_that_nontarget_trials_contradict_are_no_speakers():
    pairs, targets = np.array([[0, 1], [0, 2], [1, 2]]), np.array([1, 0, 0])
    assert len(np.unique(trial_speakers(pairs, targets, ["unknown"] * 3))) == 2
