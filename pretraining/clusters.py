"""Codebooks: clusters of what short stretches of sound are like, which a network learns to name."""

from collections.abc import Iterable

import numpy as np
from sklearn.cluster import MiniBatchKMeans


def fit_codebooks(
    samples: Iterable[dict[str, np.ndarray]], sizes: dict[str, int], max_iter: int, seed: int
) -> dict[str, MiniBatchKMeans]:
    """Fit k-means to the stretches of some clips.

    Args:
        samples: of each clip, a codebook's [T, F] features.
        sizes: K of each codebook; fewer where there are fewer stretches.
        max_iter: passes over the stretches.
    """
    gathered: dict[str, list[np.ndarray]] = {name: [] for name in sizes}
    for features in samples:
        for name, x in features.items():
            gathered[name].append(x)
    fitted = {}
    for name, size in sizes.items():
        x = np.concatenate(gathered[name]).astype(np.float32)
        kmeans = MiniBatchKMeans(
            min(size, len(x)), batch_size=10_000, n_init=1, max_iter=max_iter, random_state=seed
        )
        fitted[name] = kmeans.fit(x)
    return fitted
