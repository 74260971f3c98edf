"""train.json by speakers; the trials' utterances in 5 evenly spaced segments."""

from ipet.arguments import list_values, trial_values, waveform_cut_values
from ipet.splits import verification_datasets, waveform_cuts


def build_datasets(args, cell):
    """A random part of a training utterance, with noise or reverberation; whole ones in trials."""
    cuts = waveform_cuts(**waveform_cut_values(args))
    return verification_datasets(cell, cuts, **list_values(args), **trial_values(args))
