"""Folds: train_1.json and eval_1.json, train_2.json ...; the first frames of every clip."""

from ipet.datasets import Cut, Datasets, EvaluationClips, TrainClips
from ipet.features import covered_samples
from ipet.lists import read_clips, read_labels


def build_datasets(args, fold):
    """The training and the evaluation clips of a fold, from 1."""
    labels = read_labels(args.path_list / "labels.csv")
    train = read_clips(args.path_list / f"train_{fold}.json", args.path_data, labels)
    evaluation = read_clips(args.path_list / f"eval_{fold}.json", args.path_data, labels)
    num_samples = covered_samples(args.frame_length, args.winlen, args.winstep)
    train_cut = Cut(num_samples, crop=args.train_crop, zero_mean=True)
    return Datasets(
        TrainClips(train, labels, train_cut, args.mixup, args.rand_seed),
        {"eval": EvaluationClips(evaluation, labels, Cut(num_samples, zero_mean=True))},
    )
