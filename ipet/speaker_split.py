"""Validation speakers of a speaker verification experiment, held out of its training speakers.

VoxCeleb1 has no validation list: published models train on all 1,211 speakers of the training part, and
there is nothing to choose settings or epochs on but the test trials. Here some of these speakers are kept out
of training, and trials are drawn among them. Both depend on the lists alone: every seed, run and machine has
the same validation trials.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ipet.datasets import Clips, Datasets, EvaluationClips, Trials
from ipet.lists import Clip, Labels

MOST_SPEAKERS = 40  # that a sweep holds out: as many as Vox1-O tests
MOST_UTTERANCES = 30  # of a validation speaker: 40 of them are evaluated in a quarter of the time of Vox1-O
MOST_TRIALS = 20_000  # half of them targets
SEED = 1_211  # of the drawn trials; part of the protocol, so not a flag


def default_number(num_speakers: int) -> int:
    """Return how many of a set's training speakers to hold out: a tenth, from 2 to 40."""
    return max(2, min(MOST_SPEAKERS, num_speakers // 10))


def held_out(mids: Sequence[str], number: int) -> list[str]:
    """Return evenly spaced speakers of the sorted ids: of 10, 2 are the third and the eighth."""
    ordered = sorted(mids)
    return [ordered[(2 * k + 1) * len(ordered) // (2 * number)] for k in range(number)]


def hold_out_speakers(datasets: Datasets, number: int) -> Datasets:
    """Return lists of which some training speakers are ``valid``; what was ``eval`` becomes ``test``.

    The label table loses the validation speakers, so that the classifier has no class for them.

    Args:
        datasets: Lists of all training speakers, with their trials in ``eval``.
        number: Number of validation speakers, at least 2; at least 2 must be left to train on.

    Raises:
        ValueError: There are too few speakers, a validation speaker has one utterance, or the trials of the
            test list name utterances of validation speakers.
    """
    train, labels = datasets.train, datasets.train.labels
    if not 2 <= number <= len(labels) - 2:
        raise ValueError(
            f"-valid_speakers {number}: {labels.path} has {len(labels)} training speakers; expected from 2 "
            f"to {max(2, len(labels) - 2)}, so that at least 2 are left to train on; 0 holds out none"
        )
    chosen = {labels.mids.index(mid) for mid in held_out(labels.mids, number)}
    kept = [i for i in range(len(labels)) if i not in chosen]
    rest = Labels(labels.path, tuple(labels.mids[i] for i in kept), tuple(labels.names[i] for i in kept))
    valid = [clip for clip in train.clips if chosen & set(clip.classes)]
    check_apart(datasets, {clip.path for clip in valid}, number)
    clips, trials = draw_trials(valid, labels)
    cut = datasets.evaluation["eval"].cut
    new_index = {old: new for new, old in enumerate(kept)}
    return datasets._replace(
        train=relabelled(train, new_index, rest),
        evaluation={
            "valid": EvaluationClips([replace(clip, classes=()) for clip in clips], rest, cut),
            "test": EvaluationClips(
                [replace(clip, classes=()) for clip in datasets.evaluation["eval"].clips], rest, cut
            ),
        },
        valid_trials=trials,
        cohort=None if datasets.cohort is None else relabelled(datasets.cohort, new_index, rest),
    )


def relabelled(clips: Clips, new_index: dict[int, int], labels: Labels) -> Clips:
    """Return a list without the clips of speakers that have no new index."""
    other = copy.copy(clips)
    other.labels = labels
    other.clips = [
        replace(clip, classes=tuple(new_index[c] for c in clip.classes))
        for clip in clips.clips
        if set(clip.classes) <= new_index.keys()
    ]
    return other


def check_apart(datasets: Datasets, valid: set, number: int) -> None:
    """Raise ValueError where the trials of the test list name utterances of validation speakers."""
    shared = [clip for clip in datasets.evaluation["eval"].clips if clip.path in valid]
    if shared:
        raise ValueError(
            f"-valid_speakers {number}: the trials name {len(shared):,} utterances of validation speakers, "
            f"the first is {shared[0].where}; expected trials of other speakers, such as Vox1-O, or "
            "-valid_speakers 0"
        )


def draw_trials(clips: Sequence[Clip], labels: Labels) -> tuple[list[Clip], Trials]:
    """Return utterances of validation speakers and trials among them, as many targets as nontargets.

    At most ``MOST_UTTERANCES`` evenly spaced utterances a speaker; the two utterances of a target are of
    different videos (folders) where the speaker has several.

    Raises:
        ValueError: A speaker has a single utterance.
    """
    by_speaker: dict[int, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: clip.path):
        by_speaker.setdefault(clip.classes[0], []).append(clip)
    for speaker, own in by_speaker.items():
        if len(own) < 2:
            raise ValueError(
                f"{own[0].where}: the only utterance of validation speaker {labels.mids[speaker]}; expected "
                "at least two, for a trial of one speaker"
            )
        number = min(len(own), MOST_UTTERANCES)
        by_speaker[speaker] = [own[(2 * k + 1) * len(own) // (2 * number)] for k in range(number)]
    used = [clip for speaker in sorted(by_speaker) for clip in by_speaker[speaker]]
    speakers = np.array([clip.classes[0] for clip in used])
    folders = {folder: i for i, folder in enumerate(dict.fromkeys(clip.path.parent for clip in used))}
    videos = np.array([folders[clip.path.parent] for clip in used])
    first, second = np.triu_indices(len(used), 1)
    same = speakers[first] == speakers[second]
    several = {s for s in by_speaker if len(set(videos[speakers == s])) > 1}
    one_video = ~np.isin(speakers[first], list(several))
    targets = np.flatnonzero(same & ((videos[first] != videos[second]) | one_video))
    nontargets = np.flatnonzero(~same)
    rng = np.random.default_rng(SEED)
    number = min(len(targets), len(nontargets), MOST_TRIALS // 2)
    drawn = [np.sort(rng.choice(pairs, number, replace=False)) for pairs in (targets, nontargets)]
    order = np.concatenate(drawn)
    pairs = np.stack([first[order], second[order]], axis=1).astype(np.int64)
    return used, Trials(pairs, np.arange(2 * number) < number)
