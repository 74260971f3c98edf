"""train.json, valid.json and test.json; a short clip is repeated, a long one cut."""

from ipet.datasets import Cut, Datasets, EvaluationClips, TrainClips
from ipet.features import HOP_SAMPLES
from ipet.lists import read_clips, read_labels


def build_datasets(args, fold):
    """Training clips are cut at random, the others around their centre; there are no folds."""
    labels = read_labels(args.path_list / "labels.csv")
    clips = {
        name: read_clips(args.path_list / f"{name}.json", args.path_data, labels)
        for name in ("train", "valid", "test")
    }
    num_samples = args.frame_length * HOP_SAMPLES
    train_cut = Cut(num_samples, crop="random", repeat=True)
    cut = Cut(num_samples, crop="centre", repeat=True)
    return Datasets(
        TrainClips(clips["train"], labels, train_cut, args.mixup, args.rand_seed),
        {name: EvaluationClips(clips[name], labels, cut) for name in ("valid", "test")},
    )
