"""Folds: train_1.json and eval_1.json, train_2.json ..."""

from ipet.arguments import list_values, log_mel_cut_values
from ipet.splits import fold_datasets, log_mel_cuts


def build_datasets(args, cell):
    """Training hears the first frames of a clip."""
    return fold_datasets(cell, log_mel_cuts(**log_mel_cut_values(args)), **list_values(args))
