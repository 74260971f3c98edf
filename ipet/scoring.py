"""Scores of verification trials: how alike the segments of two utterances are.

    mean_distance    score = -1/S^2 sum_ij || a_i - b_j ||      a_i, b_j: L2-normalised segments
    cosine           score =  1/S^2 sum_ij a_i . b_j

Higher means more probably the same speaker. AS-norm then measures a score in standard deviations
of what each of its two utterances scores against the most similar of a cohort of strangers.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 4096  # trials at a time: 20 MB of 5 segments of 128
COHORT_CHUNK = 1 << 24  # distances at a time: 64 MB
SAME = 1e-6  # a deviation that rounding alone can give scores of about 1
EXACT = "donot_use_mm_for_euclid_dist"  # a product of matrices loses the distances near 0


def mean_distance(a: Tensor, b: Tensor) -> Tensor:
    """[N, S, D], [N, R, D] normalised segments -> [N], minus the mean Euclidean distance of all pairs.

    Source: the authors' verification; their distance of torch 1.9 adds 1e-6 to every difference.
    """
    return -torch.cdist(a, b, compute_mode=EXACT).mean(dim=(1, 2))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """[N, S, D], [N, R, D] normalised segments -> [N], the mean cosine of all pairs."""
    return (a.mean(dim=1) * b.mean(dim=1)).sum(dim=1)  # sums of products: the means come first


def mean_distances_to_all(a: Tensor, b: Tensor) -> Tensor:
    """[U, S, D], [C, R, D] normalised segments -> [U, C] ``mean_distance`` of each with each."""
    distances = torch.cdist(a.flatten(0, 1), b.flatten(0, 1))  # [U S, C R]
    return -distances.unflatten(1, b.shape[:2]).unflatten(0, a.shape[:2]).mean(dim=(1, 3))


def cosines_to_all(a: Tensor, b: Tensor) -> Tensor:
    """[U, S, D], [C, R, D] normalised segments -> [U, C] ``cosine`` of each with each."""
    return a.mean(dim=1) @ b.mean(dim=1).T


SCORINGS = {"mean_distance": (mean_distance, mean_distances_to_all), "cosine": (cosine, cosines_to_all)}


@torch.no_grad()
def score_trials(embeddings: Tensor, pairs: np.ndarray, scoring: str = "mean_distance") -> np.ndarray:
    """Score every trial, on the device that holds the embeddings.

    Args:
        embeddings: [U, S, D] of S segments of each utterance, normalised or not.
        pairs: [N, 2] int, the two utterances of each trial.
        scoring: ``mean_distance`` or ``cosine``.

    Returns:
        [N] float32, higher for the same speaker.

    Raises:
        ValueError: an unknown scoring, other shapes, an utterance that has no embedding.
    """
    score, _ = scoring_of(scoring)
    check_pairs(pairs, embeddings)
    embeddings = F.normalize(embeddings.float(), dim=-1)
    enrolled, tested = torch.from_numpy(np.ascontiguousarray(pairs.T)).to(embeddings.device)
    chunks = zip(enrolled.split(CHUNK), tested.split(CHUNK))
    return torch.cat([score(embeddings[a], embeddings[b]) for a, b in chunks]).cpu().numpy()


@torch.no_grad()
def as_norm(
    scores: np.ndarray,
    pairs: np.ndarray,
    embeddings: Tensor,
    cohort: Tensor,
    scoring: str = "mean_distance",
    top: int = 300,
) -> np.ndarray:
    """Adaptive symmetric normalisation: each utterance of a trial has its own mean and deviation.

        score' = 1/2 ((score - mean_a) / std_a + (score - mean_b) / std_b)

    Args:
        scores: [N], what ``score_trials`` gave for ``pairs`` and ``embeddings``.
        cohort: [C, R, D] segment embeddings of speakers that occur in no trial, of training say.
        top: over how many of an utterance's highest cohort scores mean and deviation are taken.

    Returns:
        [N] float32.

    Raises:
        ValueError: as ``score_trials``; ``top`` outside 2 to C.

    Source: AS-norm1 of Matejka et al., "Analysis of score normalization in multilingual speaker
    recognition" (Interspeech 2017).
    """
    check_pairs(pairs, embeddings)
    if len(scores) != len(pairs):
        raise ValueError(f"{len(scores)} scores for {len(pairs)} trials; expected one each")
    if cohort.ndim != 3 or cohort.shape[-1] != embeddings.shape[-1]:
        raise ValueError(
            f"the cohort has shape {list(cohort.shape)}; expected [C, R, {embeddings.shape[-1]}]"
        )
    if not 2 <= top <= len(cohort):
        raise ValueError(f"top is {top}; a deviation of a cohort of {len(cohort)} takes 2 to {len(cohort)}")
    used, places = np.unique(pairs, return_inverse=True)  # statistics of these utterances alone
    mean, std = cohort_statistics(embeddings[torch.from_numpy(used)], cohort, scoring, top)
    std = np.maximum(std, SAME)  # of a network that gives every voice one embedding it would be 0
    normalised = (np.asarray(scores)[:, None] - mean[places]) / std[places]  # [N, 2]
    return normalised.mean(axis=1)


def cohort_statistics(
    embeddings: Tensor, cohort: Tensor, scoring: str, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """[U, S, D], [C, R, D] -> [U] means and [U] deviations of the ``top`` highest cohort scores."""
    _, score_all = scoring_of(scoring)
    cohort = F.normalize(cohort.to(embeddings.device).float(), dim=-1)
    num_distances = embeddings.shape[1] * cohort.shape[0] * cohort.shape[1]  # of one utterance
    chunks = F.normalize(embeddings.float(), dim=-1).split(max(1, COHORT_CHUNK // num_distances))
    highest = torch.cat([score_all(chunk, cohort).topk(top, dim=1).values for chunk in chunks])
    return highest.mean(dim=1).cpu().numpy(), highest.std(dim=1).cpu().numpy()


def scoring_of(name: str):
    """The functions of a scoring: for trials, and for each with each."""
    if name not in SCORINGS:
        raise ValueError(f"the scoring is {name!r}; accepted: {', '.join(SCORINGS)}")
    return SCORINGS[name]


def check_pairs(pairs: np.ndarray, embeddings: Tensor) -> None:
    """Raise ValueError where a trial is no pair of utterances that have embeddings."""
    if embeddings.ndim != 3:
        raise ValueError(f"embeddings of shape {list(embeddings.shape)}; expected [U, S, D]")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError(f"trial pairs of shape {list(pairs.shape)}; expected [N, 2] with a trial")
    outside = pairs[(pairs < 0) | (pairs >= len(embeddings))]
    if len(outside):
        raise ValueError(
            f"{len(outside)} utterances of the trials have no embedding, the first is {outside[0]}; "
            f"expected 0 to {len(embeddings) - 1}"
        )
