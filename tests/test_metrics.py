"""Metrics: by hand, and the authors' numbers."""

import numpy as np
import pytest

from ipet.metrics import accuracy, average_precision, d_prime, mean_auc, mean_average_precision

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
