"""Metrics: by hand, and the authors' numbers."""

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ipet.metrics import (
    CountedAveragePrecision,
    accuracy,
    average_precision,
    bootstrap_interval,
    d_prime,
    det_curve,
    eer,
    eer_interval,
    mean_auc,
    mean_average_precision,
    mean_average_precision_interval,
    min_dcf,
    wilson_interval,
)

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
@pytest.mark.parametrize("metric", [eer, min_dcf, det_curve, eer_interval])
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


# 95 % intervals -----------------------------------------------------------------------------------


def test_wilson_s_interval_is_its_formula():
    p, n, z = 0.8, 400, 1.959964  # (p + z^2/2n +- z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    centre, spread = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    want = ((centre - spread) / (1 + z**2 / n), (centre + spread) / (1 + z**2 / n))
    assert wilson_interval(p, n) == pytest.approx(want, abs=1e-6)
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)
    assert wilson_interval(1.0, 10)[0] < 0.75  # ten right answers prove little


def test_the_bootstrap_of_a_mean_is_about_two_standard_errors_wide():
    values = np.random.default_rng(0).standard_normal(1000)
    low, high = bootstrap_interval(lambda counts: counts @ values / counts.sum(), 1000, num_resamples=2000)
    error = values.std() / np.sqrt(1000)
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.15 * error
    )


def test_an_interval_is_the_same_under_the_same_seed_alone():
    scores, targets = gaussian_trials(400, distance=1)
    assert eer_interval(scores, targets, seed=3) == eer_interval(scores, targets, seed=3)
    assert eer_interval(scores, targets, seed=3) != eer_interval(scores, targets, seed=4)


def test_every_resample_of_trials_has_the_equal_error_rate_of_its_repeated_trials(monkeypatch):
    scores, targets = gaussian_trials(200, distance=1)
    scores = scores.round(1)  # ties
    metrics = []
    monkeypatch.setattr("ipet.metrics.bootstrap_interval", lambda metric, *_: metrics.append(metric))
    eer_interval(scores, targets)
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = rng.integers(200, size=200)
        got = metrics[0](np.bincount(drawn, minlength=200))
        assert got == pytest.approx(eer(scores[drawn], targets[drawn]), abs=1e-12)
    assert np.isnan(metrics[0](np.where(targets, 1, 0)))  # no nontarget drawn


def test_an_equal_error_rate_s_interval_covers_it_and_narrows_with_more_trials():
    few, many = gaussian_trials(500, distance=2), gaussian_trials(20_000, distance=2)
    (low, high), (closer_low, closer_high) = eer_interval(*few), eer_interval(*many)
    assert low < eer(*few) < high
    assert closer_low < eer(*many) < closer_high
    assert 4 < (high - low) / (closer_high - closer_low) < 9  # sqrt(40) = 6.3


def test_an_interval_covers_the_truth_about_nineteen_times_in_twenty():
    truth = 0.158655  # of Gaussians 2 deviations apart
    covered = 0
    for seed in range(100):
        low, high = eer_interval(*gaussian_trials(1000, distance=2, seed=seed), num_resamples=100)
        covered += low < truth < high
    assert 85 <= covered <= 100


@pytest.mark.parametrize("digits", [1, 6])  # many ties, none
def test_counted_average_precision_is_scikit_learn_s_with_weights(digits):
    rng = np.random.default_rng(0)
    targets = rng.random((150, 6)) < [0.02, 0.1, 0.3, 0.5, 0.9, 1.0]
    targets[0, 0] = True
    scores = (rng.standard_normal((150, 6)) + targets).round(digits)
    counted = CountedAveragePrecision(scores, targets)
    for _ in range(10):
        counts = np.bincount(rng.integers(150, size=150), minlength=150)
        want = [
            average_precision_score(targets[:, c], scores[:, c], sample_weight=counts)
            if counts[targets[:, c]].any()
            else np.nan
            for c in range(6)
        ]
        np.testing.assert_allclose(counted(counts), want, atol=1e-12)


def test_counting_every_clip_once_gives_the_mean_average_precision():
    rng = np.random.default_rng(1)
    targets = rng.random((80, 5)) < [0.0, 0.2, 0.2, 0.0, 0.4]  # two classes without positives
    scores = rng.standard_normal((80, 5)).round(1)
    got = CountedAveragePrecision(scores, targets).mean(np.ones(80, dtype=int))
    assert got == pytest.approx(mean_average_precision(scores, targets))


def test_the_interval_of_the_mean_average_precision_covers_it():
    rng = np.random.default_rng(2)
    targets = rng.random((2000, 5)) < 0.3
    scores = rng.standard_normal((2000, 5)) + targets
    low, high = mean_average_precision_interval(scores, targets)
    assert low < mean_average_precision(scores, targets) < high
    assert 0.01 < high - low < 0.05
    assert np.isnan(mean_average_precision_interval(scores, np.zeros((2000, 5)))).all()
