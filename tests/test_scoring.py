"""Scores of trials: by hand, against the double loop of the formula, and normalised by a cohort."""

import re
import time

import numpy as np
import pytest
import torch

from ipet.scoring import as_norm, cohort_statistics, score_trials
from ipet.verification_metrics import eer

SCORINGS = ("mean_distance", "cosine")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def textbook(a, b, scoring):
    """[S, D], [R, D] -> the score, pair by pair as its formula reads."""
    pairs = [(x, y) for x in unit(a.double().numpy()) for y in unit(b.double().numpy())]
    if scoring == "cosine":
        return np.mean([x @ y for x, y in pairs])
    return -np.mean([np.linalg.norm(x - y) for x, y in pairs])


def random_trials(num_utterances, num_trials, num_segments=3, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(num_utterances, num_segments, width, generator=generator)
    return embeddings, np.random.default_rng(seed).integers(num_utterances, size=(num_trials, 2))


def test_scores_of_directions_in_the_plane():
    east, north, west = [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]
    embeddings = torch.tensor([[east], [north], [west]])  # [3, 1, 2], lengths do not matter
    pairs = np.array([[0, 0], [0, 1], [0, 2]])
    np.testing.assert_allclose(score_trials(embeddings, pairs), [0, -(2**0.5), -2], atol=1e-6)
    np.testing.assert_allclose(score_trials(embeddings, pairs, "cosine"), [1, 0, -1], atol=1e-6)


def test_all_pairs_of_segments_count():
    # segments (east, north) against (east, east): distances 0, 0, sqrt 2, sqrt 2; cosines 1, 1, 0, 0
    embeddings = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    pairs = np.array([[0, 1]])
    np.testing.assert_allclose(score_trials(embeddings, pairs), [-(2**0.5) / 2], rtol=1e-6)
    np.testing.assert_allclose(score_trials(embeddings, pairs, "cosine"), [0.5], rtol=1e-6)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_scores_are_the_formula_s_in_the_order_of_the_trials(scoring, monkeypatch):
    monkeypatch.setattr("ipet.scoring.CHUNK", 7)  # 20 trials: two whole chunks and a part
    embeddings, pairs = random_trials(6, 20)
    want = [textbook(embeddings[i], embeddings[j], scoring) for i, j in pairs]
    np.testing.assert_allclose(score_trials(embeddings, pairs, scoring), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_a_score_does_not_depend_on_the_order_of_its_pair_or_on_the_length_of_vectors(scoring):
    embeddings, pairs = random_trials(6, 20)
    scores = score_trials(embeddings, pairs, scoring)
    np.testing.assert_allclose(
        score_trials(embeddings, pairs[:, ::-1], scoring), scores, rtol=1e-5, atol=1e-6
    )
    lengths = torch.rand(6, 3, 1) + 0.1
    np.testing.assert_allclose(
        score_trials(lengths * embeddings, pairs, scoring), scores, rtol=1e-5, atol=1e-6
    )


def test_equal_segments_are_exactly_at_distance_zero():
    # A clip shorter than a segment gives equal segments; a product of matrices would give 3e-4.
    embeddings = torch.randn(1, 1, 128).expand(2, 30, 128)
    assert score_trials(embeddings, np.array([[0, 1]])) == 0


@pytest.mark.parametrize(
    ("embeddings", "pairs", "scoring", "message"),
    [
        (torch.ones(2, 1, 4), [[0, 1]], "euclid", "the scoring is 'euclid'; accepted: mean_distance, cosine"),
        (torch.ones(2, 4), [[0, 1]], "cosine", "embeddings of shape [2, 4]; expected [U, S, D]"),
        (torch.ones(2, 1, 4), [0, 1], "cosine", "trial pairs of shape [2]; expected [N, 2] with a trial"),
        (torch.ones(2, 1, 4), np.zeros((0, 2), int), "cosine", "trial pairs of shape [0, 2]"),
        (
            torch.ones(2, 1, 4),
            [[0, 2], [-1, 0]],
            "cosine",
            "2 utterances of the trials have no embedding, the first is 2; expected 0 to 1",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(embeddings, pairs, scoring, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        score_trials(embeddings, np.array(pairs), scoring)


def test_voxceleb1_s_trials_are_scored_in_seconds():
    embeddings, pairs = random_trials(4708, 37_720, num_segments=5, width=128)
    start = time.perf_counter()
    assert len(score_trials(embeddings, pairs)) == 37_720
    assert time.perf_counter() - start < 5  # 0.2 s on two idle cores


# AS-norm ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("chunk", [1, 1 << 24])  # one utterance at a time, all at once
def test_as_norm_is_its_formula(scoring, chunk, monkeypatch):
    monkeypatch.setattr("ipet.scoring.COHORT_CHUNK", chunk)
    embeddings, pairs = random_trials(6, 20)
    cohort, _ = random_trials(11, 1, num_segments=2, seed=1)
    scores = score_trials(embeddings, pairs, scoring)
    want = []
    for (a, b), score in zip(pairs, scores):
        terms = []
        for utterance in (embeddings[a], embeddings[b]):
            nearest = np.sort([textbook(utterance, c, scoring) for c in cohort])[-4:]
            terms.append((score - nearest.mean()) / nearest.std(ddof=1))
        want.append(np.mean(terms))
    got = as_norm(scores, pairs, embeddings, cohort, scoring, top=4)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def test_cohort_statistics_of_one_utterance_by_hand():
    # cosines with the cohort 0, 1/2, 1; the two highest: mean 3/4, deviation sqrt(2) / 4
    cohort = torch.tensor([[[0.0, 1.0]], [[0.5, 0.75**0.5]], [[1.0, 0.0]]])
    mean, std = cohort_statistics(torch.tensor([[[1.0, 0.0]]]), cohort, "cosine", top=2)
    np.testing.assert_allclose([mean[0], std[0]], [3 / 4, 2**0.5 / 4], rtol=1e-6)


def test_as_norm_repairs_scores_that_depend_on_the_microphone():
    # One of two microphones adds the same vector to all its recordings: its speakers look alike.
    rng = np.random.default_rng(0)
    microphone = 6.0 * np.eye(16)[0]
    speakers = rng.standard_normal((200, 1, 16)).repeat(2, axis=1)  # two utterances each
    utterances = speakers + 0.7 * rng.standard_normal((200, 2, 16))
    utterances[100:] += microphone
    strangers = rng.standard_normal((400, 16))
    strangers[200:] += microphone

    a, b = rng.integers(100, size=(2, 4000)) + rng.choice([0, 100], size=4000)  # of the same microphone
    same = np.stack([2 * np.arange(200), 2 * np.arange(200) + 1], axis=1)
    different = np.stack([2 * a, 2 * b + 1], axis=1)[a != b]
    pairs = np.concatenate([same, different])
    targets = np.arange(len(pairs)) < len(same)

    embeddings = torch.from_numpy(utterances.reshape(400, 1, 16))
    scores = score_trials(embeddings, pairs, "cosine")
    cohort = torch.from_numpy(strangers)[:, None]
    normalised = as_norm(scores, pairs, embeddings, cohort, "cosine", top=100)
    assert eer(normalised, targets) < 0.7 * eer(scores, targets)


def test_utterances_outside_the_trials_do_not_matter_to_as_norm():
    embeddings, _ = random_trials(6, 1)
    cohort, _ = random_trials(9, 1, seed=1)
    pairs = np.array([[5, 2], [2, 2]])
    scores = score_trials(embeddings, pairs)
    want = as_norm(scores, pairs, embeddings, cohort, top=3)
    embeddings[[0, 1, 3, 4]] = float("nan")
    np.testing.assert_array_equal(as_norm(scores, pairs, embeddings, cohort, top=3), want)


@pytest.mark.parametrize("top", [1, 10])
def test_a_deviation_needs_two_of_the_cohort_and_no_more_than_there_are(top):
    embeddings, pairs = random_trials(6, 5)
    cohort, _ = random_trials(9, 1, seed=1)
    with pytest.raises(ValueError, match=f"top is {top}; a deviation of a cohort of 9 takes 2 to 9"):
        as_norm(score_trials(embeddings, pairs), pairs, embeddings, cohort, top=top)


def test_a_cohort_of_one_voice_leaves_scores_finite():
    """As a network that gives every voice one embedding would: its error rates are told, not an error."""
    embeddings, pairs = random_trials(6, 5)
    cohort = torch.randn(1, 3, 8).expand(9, 3, 8)
    assert np.isfinite(as_norm(score_trials(embeddings, pairs), pairs, embeddings, cohort, top=4)).all()


def test_a_cohort_of_another_width_and_missing_scores_are_refused():
    embeddings, pairs = random_trials(6, 5)
    scores = score_trials(embeddings, pairs)
    with pytest.raises(ValueError, match=re.escape("the cohort has shape [9, 3, 4]; expected [C, R, 8]")):
        as_norm(scores, pairs, embeddings, torch.ones(9, 3, 4), top=4)
    with pytest.raises(ValueError, match="4 scores for 5 trials; expected one each"):
        as_norm(scores[:4], pairs, embeddings, torch.ones(9, 3, 8), top=4)
