"""Folds where there is a train_1.json; train.json, valid.json and test.json otherwise."""

from ipet.arguments import list_values, log_mel_cut_values
from ipet.splits import log_mel_cuts, own_datasets


def build_datasets(args, cell):
    """Training hears the first frames of a clip."""
    return own_datasets(cell, log_mel_cuts(**log_mel_cut_values(args)), **list_values(args))
