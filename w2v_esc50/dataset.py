"""Folds: train_1.json and eval_1.json, train_2.json ..."""

from ipet.arguments import list_values, waveform_cut_values
from ipet.splits import fold_datasets, waveform_cuts


def build_datasets(args, cell):
    """Training hears a random part of a clip; a short one is repeated."""
    return fold_datasets(cell, waveform_cuts(**waveform_cut_values(args)), **list_values(args))
