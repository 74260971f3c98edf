"""Folds where there is a train_1.json; train.json, valid.json and test.json otherwise."""

from ipet.arguments import list_values, waveform_cut_values
from ipet.splits import own_datasets, waveform_cuts


def build_datasets(args, cell):
    """Training hears a random part of a clip; a short one is repeated."""
    return own_datasets(cell, waveform_cuts(**waveform_cut_values(args)), **list_values(args))
