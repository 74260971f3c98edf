"""Flags of the backbones and of speaker verification."""

import argparse
from collections.abc import Collection
from pathlib import Path

from ipet import limits
from ipet.kinds import kinds_that_hear
from ipet.parsing import (
    REPOSITORY,
    Parser,
    add_switch,
    count,
    finite,
    not_negative,
    number,
    positive,
    probability,
    size,
)


def add_ast(parser: Parser) -> None:
    """The Audio Spectrogram Transformer and its log-mels."""
    group = parser.add_argument_group("AST and its log-mels")
    add = group.add_argument
    add(
        "-pretrained",
        default=kinds_that_hear("log_mel")["ast"],
        metavar="WEIGHTS",
        help="ast_small (of this repository), a .pth, .bin or .safetensors file, a folder, a hub id, "
        "imagenet, random",
    )
    add(
        "-size",
        "-model_size",
        choices=("base", "base384", "base224", "small224", "tiny224", "small", "tiny"),
        default=None,
        help="size of the backbone; that of the weights, or base, if not given. base384 is base; base224, "
        "small224 and tiny224 are DeiT's of 224 pixels, which have ImageNet weights only; small and tiny are "
        "this repository's",
    )
    add("-fstride", type=size, default=10, help="mels between patches; 10: or what the weights say")
    add("-tstride", type=size, default=10, help="frames between patches; 10: or what the weights say")
    add(
        "-patchout",
        type=probability,
        default=0.0,
        metavar="P",
        help="share of the patches that a training step leaves out, which makes it faster (PaSST)",
    )
    add("-winlen", type=number(float, 1, limits.WINDOW_MS), default=25.0, help="ms of a frame")
    add("-winstep", type=number(float, 1, limits.WINDOW_MS), default=10.0, help="ms between frames")
    add("-winfunc", choices=("hanning", "hamming", "povey", "rectangular"), default="hanning", help="window")
    add("-nfilts", type=number(int, 16, limits.MELS), default=128, help="mels")
    add("-norm_mean", type=finite, help="of the training list's log-mels")
    add("-norm_std", type=positive, help="of the training list's log-mels")
    add("-freqm", type=count, default=0, help="mels masked at most")
    add("-timem", type=count, default=0, help="frames masked at most")
    add_switch(group, "-add_noise", default=False, help="noise on the log-mels, and a roll in time")
    add("-train_crop", choices=("first", "random"), default="first", help="part of a long training clip")


def speech_model(types: Collection[str]):
    """Return a type for ``-model_type``: one of ``types``, ``auto``, or a hub id (``owner/name``)."""

    def parse(text: str) -> str:
        """Return the text as it is, where it is accepted."""
        owner, slash, name = text.partition("/")
        if text not in (*types, "auto") and not (slash and owner and name):
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {', '.join(types)}, auto, or a hub id such as "
                "facebook/wav2vec2-base)"
            )
        return text

    return parse


def add_wav2vec2(parser: Parser) -> None:
    """wav2vec 2.0."""
    group = parser.add_argument_group("wav2vec 2.0")
    add, speech = group.add_argument, kinds_that_hear("waveform")
    add(
        "-pretrained",
        default=None,
        metavar="WEIGHTS",
        help="wav2vec2_small (of this repository), a folder in Hugging Face's layout, a hub id, random; "
        "if not given " + ", ".join(speech.values()),
    )
    add(
        "-size",
        "-model_size",
        choices=("base", "small", "tiny"),
        default=None,
        help="size of a random backbone; base if not given",
    )
    add(
        "-model_type",
        type=speech_model(speech),
        default="wav2vec2",
        metavar="TYPE",
        help=f"type of the backbone: {', '.join(speech)}; auto: that of the weights' config.json; or a hub "
        "id such as facebook/wav2vec2-base, which also stands for -pretrained",
    )
    add(
        "-keep_features",
        type=not_negative,
        default=0.0,
        metavar="GIB",
        help="memory of a process for what the frozen convolutions make of clips that sound the same in "
        "every epoch, which is then computed once",
    )


def add_verification(parser: Parser) -> None:
    """Speaker verification: trials, their scores, and noise from MUSAN and room impulse responses."""
    group = parser.add_argument_group("speaker verification")
    add = group.add_argument
    add("-path_trial", type=Path, default=None, metavar="FILE", help="trial list; trials.txt of path_list")
    add(
        "-more_trials",
        type=Path,
        nargs="+",
        default=(),
        metavar="FILE",
        help="further trial lists, scored when training is over; with -resume also of a finished run",
    )
    add(
        "-valid_speakers",
        type=count,
        default=0,
        metavar="N",
        help="hold N training speakers out, and choose the epoch on trials among them; 0: train on all, as "
        "published",
    )
    add(
        "-scoring",
        choices=("mean_distance", "cosine"),
        default="mean_distance",
        help="of a trial: minus the mean distance of the clips' segments, or their mean cosine",
    )
    add("-as_norm", type=count, default=0, metavar="N", help="also AS-norm with the N nearest of the cohort")
    add_switch(
        group,
        "-add_musan_rir",
        default=False,
        help="noise, music, speech from MUSAN, or reverberation, in training",
    )
    add(
        "-path_musan",
        type=Path,
        default=None,
        metavar="DIR",
        help="MUSAN as it was extracted: music/, noise/, speech/; all its recordings are used where "
        "path_noise_list has no list of them",
    )
    add(
        "-path_rir",
        type=Path,
        default=None,
        metavar="DIR",
        help="RIRS_NOISES as it was extracted; its simulated_rirs/ are used where path_noise_list has no "
        "list of them",
    )
    add(
        "-path_noise_list",
        type=Path,
        default=REPOSITORY / "data",
        metavar="DIR",
        help="folder of the lists musan/ and rirs/, which choose among the files of path_musan and path_rir",
    )
