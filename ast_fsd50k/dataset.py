"""train.json, valid.json and test.json; a clip may have several labels."""

from ipet.arguments import list_values, log_mel_cut_values
from ipet.splits import log_mel_cuts, split_datasets


def build_datasets(args, cell):
    """Training hears the first frames of a clip."""
    return split_datasets(cell, log_mel_cuts(**log_mel_cut_values(args)), **list_values(args))
