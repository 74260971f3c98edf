"""Log-mels, AST with prompts and adapters, linear head."""

from ipet.arguments import ast_values, log_mel_values, tuning_values
from ipet.augment import NoiseAndRoll, SpecAugment
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.features import LogMel
from ipet.heads import Classifier, LinearHead
from ipet.tuning import Tuning, tune


def build_model(args, num_classes):
    """The model of this experiment, for any number of classes."""
    masks, noise = SpecAugment(args.freqm, args.timem), NoiseAndRoll() if args.add_noise else None
    front_end = LogMel(**log_mel_values(args), masks=masks, noise=noise)
    backbone = tune(build_ast(**ast_values(args)), Tuning(**tuning_values(args)))
    return Classifier(front_end, backbone, LinearHead(backbone.width, num_classes))
