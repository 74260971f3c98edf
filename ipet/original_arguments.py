"""Flags of the paper's original code that are spelt otherwise here, or that nothing here needs.

``translate`` turns them into the flags of this package after the command line is parsed. A flag that has no
effect is reported, with what replaces it. ``docs/coming_from_the_original.md`` lists all of them.
"""

import argparse
import os

from ipet.input_report import InputReport
from ipet.kinds import kinds_that_hear
from ipet.parsing import Parser, add_switch

PUBLISHED = kinds_that_hear("log_mel")["ast"]  # hub id of AST's weights
UNUSED = {  # flag: why it has no effect, and what replaces it
    "main_module_name": (
        "model.py of the experiment builds the backbone",
        "-pretrained, -size and -model_type choose another one",
    ),
    "backend_module_name": (
        "model.py of the experiment builds the head",
        "edit that file for another one",
    ),
    "finetuning_task": (
        "the experiment's folder says which task it is",
        "run main.py of another folder, such as ast_gtzan, for another task",
    ),
}
UNUSED_BY_SPEECH = {  # flags of AST that say nothing of wav2vec 2.0
    "imagenet_pretrain": (
        "wav2vec 2.0 has no ImageNet weights",
        "-pretrained and -model_type choose its weights, -pretrained random none",
    ),
    "audioset_pretrain": (
        "wav2vec 2.0 has no AudioSet weights",
        "-pretrained and -model_type choose its weights, -pretrained random none",
    ),
    "skip_norm": ("wav2vec 2.0 takes the waveform as it is, without log-mels", "leave the flag out"),
}
IMAGENET_SIZES = ("tiny224", "small224", "base224")  # of DeiT; AudioSet weights exist for base384 only
UNNORMALISED = {"norm_mean": 0.0, "norm_std": 0.5}  # (x - 0) / (2 * 0.5) = x


def add_original(parser: Parser) -> None:
    """Add the flags of the original code that wav2vec 2.0 and AST have in common."""
    group = parser.add_argument_group("original code")
    for name, texts in UNUSED.items():
        group.add_argument(f"-{name}", default=None, metavar="NAME", help=without_effect(*texts))
    add_switch(
        group,
        "-input_prompt",
        default=None,
        help="True: -method input_prompt (AST); for wav2vec 2.0 it only freezes the backbone, as -method "
        "linear does",
    )


def without_effect(reason: str, remedy: str) -> str:
    """Return the help of a flag that is accepted and changes nothing."""
    return f"accepted without effect: {reason}; {remedy}"


def add_original_speech(parser: Parser) -> None:
    """Add the flags of the original code for wav2vec 2.0, and AST's, which are reported."""
    add_original(parser)
    group = parser.add_argument_group("original code, of AST")
    for name, texts in UNUSED_BY_SPEECH.items():
        add_switch(group, f"-{name}", default=None, help=without_effect(*texts))


def ast_model(text: str) -> str:
    """Return the ``-model_type`` of an AST experiment: ``ast``, or the weights' hub id."""
    owner, slash, name = text.partition("/")
    if text != "ast" and not (slash and owner and name):
        raise argparse.ArgumentTypeError(
            f"invalid choice: {text!r} (choose from ast, or a hub id such as {PUBLISHED}; wav2vec 2.0 is in "
            "the w2v_ experiments)"
        )
    return text


def add_original_ast(parser: Parser) -> None:
    """Add the flags of the original code for AST."""
    add_original(parser)
    group = parser.add_argument_group("original code, AST")
    group.add_argument(
        "-model_type",
        type=ast_model,
        default=None,
        metavar="WEIGHTS",
        help=f"a hub id such as {PUBLISHED}, as -pretrained; ast: the default of -pretrained",
    )
    add_switch(
        group,
        "-imagenet_pretrain",
        default=None,
        help="with -audioset_pretrain False: True is -pretrained imagenet, False is -pretrained random",
    )
    add_switch(
        group,
        "-audioset_pretrain",
        default=None,
        help="True: the default of -pretrained; False: ImageNet weights, or none by -imagenet_pretrain False",
    )
    add_switch(
        group,
        "-skip_norm",
        default=None,
        help="True: log-mels are not normalised, as with -norm_mean 0 -norm_std 0.5",
    )


def translate(parser: Parser, args, given: set[str], backbone: str) -> None:
    """Turn the flags of the original code into this package's, and report those without effect.

    Args:
        parser: Parser that reports contradictions.
        args: Parsed flags; changed in place, and left without the flags of the original code.
        given: Names of the flags that the command line holds.
        backbone: ``ast`` or ``w2v``.
    """
    report = InputReport("command line")
    unused = UNUSED | (UNUSED_BY_SPEECH if backbone == "w2v" else {})
    for name, texts in unused.items():
        value = vars(args).pop(name)
        if value is not None:
            report.leave_out("flags", f"-{name} {value}", *texts)
    input_prompt = vars(args).pop("input_prompt")
    if input_prompt:
        choose_input_prompt(parser, args, given, backbone, report)
    lists = "path_validation_dataset"
    if getattr(args, lists) is not None and (args.fold or "path_trial" in args):
        remedy = "-protocol nested holds a fold out" if args.fold else "leave the flag out"
        report.leave_out(
            "flags", f"-{lists} {getattr(args, lists)}", "this experiment has no validation list", remedy
        )
        setattr(args, lists, None)
    if backbone == "ast":
        choose_ast_weights(parser, args, given)
        choose_normalisation(parser, args, given)
    elif "/" in args.model_type or args.model_type == "auto":
        choose_speech_weights(parser, args)
    left_out = {item.split()[0].lstrip("-") for items in report.left_out.values() for item in items}
    report.use("flags", len(given - left_out))
    if is_first_process():
        report.print_warnings()


def is_first_process() -> bool:
    """Return whether this is the process that a user started, or the first one of torchrun."""
    return os.environ.get("RANK", "0") == "0" and "IPET_LAUNCHED" not in os.environ


def choose_input_prompt(parser: Parser, args, given: set[str], backbone: str, report: InputReport) -> None:
    """Make ``-input_prompt True`` a method: the border of AST's log-mels, or a frozen backbone."""
    if "method" in given and args.method != "input_prompt":
        parser.error(
            f"-input_prompt True is -method input_prompt, not -method {args.method}; give one of them"
        )
    inserted = [name for name in ("embedding_prompt", "adapter") if getattr(args, name)]
    if backbone != "ast":
        if inserted:
            report.leave_out(
                "flags",
                "-input_prompt True",
                "wav2vec 2.0 has no input prompt, and its backbone is frozen anyway",
                "leave the flag out",
            )
            return
        args.method, args.embedding_prompt, args.adapter = "linear", True, True
        return
    clash = [name for name in inserted if name in given]
    if clash:
        parser.error(
            f"-input_prompt True is not combined with -{clash[0]} True; accepted: -{clash[0]} False, or "
            "-input_prompt False"
        )
    for name in inserted:
        report.leave_out(
            "flags",
            f"-{name} True (the default)",
            "the input prompt is not combined with prompts and adapters in the layers",
            "-input_prompt False trains those",
        )
    args.method, args.embedding_prompt, args.adapter = "input_prompt", True, True


def choose_ast_weights(parser: Parser, args, given: set[str]) -> None:
    """Make ``-pretrained`` and ``-size`` of the switches and the sizes of AST's authors."""
    imagenet, audioset = vars(args).pop("imagenet_pretrain"), vars(args).pop("audioset_pretrain")
    hub_id = vars(args).pop("model_type")
    if args.size == "base384":
        args.size = "base"
    if hub_id not in (None, "ast") and "pretrained" not in given:
        if audioset is False:
            parser.error(
                f"-audioset_pretrain False and -model_type {hub_id}: both choose the weights; give one"
            )
        args.pretrained = hub_id
        return
    if audioset is False:
        if "pretrained" in given:
            parser.error(
                "-audioset_pretrain False and -pretrained: both choose the weights; give one of them"
            )
        args.pretrained = "random" if imagenet is False else "imagenet"
    elif "pretrained" not in given:
        if imagenet is False:
            parser.error(
                "-imagenet_pretrain False: the AudioSet weights were trained from ImageNet's; accepted: "
                "-audioset_pretrain False too, for random weights, or -pretrained FILE"
            )
        if args.size in IMAGENET_SIZES:
            parser.error(
                f"-size {args.size}: AudioSet weights exist for base384 only; -audioset_pretrain False takes "
                f"the ImageNet weights of {args.size}, -pretrained FILE others"
            )


def choose_normalisation(parser: Parser, args, given: set[str]) -> None:
    """Make ``-skip_norm True`` a mean and a standard deviation that change nothing."""
    if not vars(args).pop("skip_norm"):
        return
    clash = sorted(given & UNNORMALISED.keys())
    if clash:
        parser.error(f"-skip_norm True and -{clash[0]}: no value is normalised; give one of the two")
    vars(args).update(UNNORMALISED)


def choose_speech_weights(parser: Parser, args) -> None:
    """Make ``-pretrained`` and ``-model_type`` of a hub id that ``-model_type`` names."""
    hub_id = args.model_type
    if hub_id == "auto":
        if args.pretrained in (None, "random"):
            parser.error(
                "-model_type auto reads the config.json of the weights; expected -pretrained WEIGHTS"
            )
        return
    args.model_type = "auto"
    if args.pretrained is None:
        args.pretrained = hub_id
    elif args.pretrained == "random":
        types = [name for name in ("hubert", "wavlm", "wav2vec2") if name in hub_id.lower()]
        if not types:
            parser.error(
                f"-model_type {hub_id} with -pretrained random: expected -model_type wav2vec2, hubert "
                "or wavlm"
            )
        args.model_type = types[0]
