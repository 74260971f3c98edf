"""Verification's error rates and trial scores against published check values."""

import numpy as np
import pytest
import torch

from ipet.scoring import score_trials
from ipet.verification_metrics import eer, min_dcf

from parity import load, needs_parity


@needs_parity
@pytest.mark.parametrize("kind", ["", "_ties"])
def test_error_rates_are_the_authors(kind):
    data = load("metrics.npz")
    scores, targets = data[f"ver_scores{kind}"], data["ver_labels"]
    assert eer(scores, targets) == pytest.approx(data[f"ver_eer{kind}"], abs=1e-9)
    assert min_dcf(scores, targets) == pytest.approx(data[f"ver_mindcf1{kind}"], abs=1e-12)
    assert min_dcf(scores, targets, c_miss=10) == pytest.approx(data[f"ver_mindcf10{kind}"], abs=1e-12)


@needs_parity
@pytest.mark.parametrize(
    ("scoring", "name"), [("mean_distance", "scores_torch19"), ("cosine", "scores_mean_cosine")]
)
def test_scores_of_all_pairs_are_the_authors(scoring, name):
    data = load("metrics.npz")
    pairs = np.array([(i, j) for i in range(6) for j in range(6)])
    scores = score_trials(torch.from_numpy(data["embeddings"]), pairs, scoring).reshape(6, 6)
    np.testing.assert_allclose(scores, data[name], rtol=1e-5, atol=1e-7)


@needs_parity
def test_the_distance_is_of_vectors_and_not_of_segments_as_under_later_torch():
    data = load("metrics.npz")
    [score] = score_trials(torch.from_numpy(data["embeddings"]), np.array([[0, 3]]))
    assert abs(score - data["scores_torch110plus"][0, 3]) > 0.1
