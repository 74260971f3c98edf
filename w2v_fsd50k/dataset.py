"""train.json, valid.json and test.json; a clip may have several labels."""

from ipet.arguments import list_values, waveform_cut_values
from ipet.splits import split_datasets, waveform_cuts


def build_datasets(args, cell):
    """Training hears a random part of a clip; a short one is repeated."""
    return split_datasets(cell, waveform_cuts(**waveform_cut_values(args)), **list_values(args))
