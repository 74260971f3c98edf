"""train.json by speakers; the trials' utterances in 5 evenly spaced segments."""

from ipet.arguments import list_values, log_mel_cut_values, trial_values
from ipet.splits import log_mel_cuts, verification_datasets


def build_datasets(args, cell):
    """The first frames of a training utterance; whole ones in trials."""
    cuts = log_mel_cuts(**log_mel_cut_values(args))
    return verification_datasets(cell, cuts, **list_values(args), **trial_values(args))
