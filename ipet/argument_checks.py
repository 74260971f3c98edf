"""What a command line's flags say together: they are checked, and one follows from another."""

import sys

from ipet.list_files import NUMBER
from ipet.parsing import Parser

FINE_TUNING = ("finetune", "finetune_transformer")
UNSIZED = (*FINE_TUNING, "linear", "bitfit")


def choose_method(parser: Parser, args) -> None:
    """Make one of ``-method`` and the authors' switches, and check that they agree."""
    switched_off = [name for name in ("embedding_prompt", "adapter") if not getattr(args, name)]
    if switched_off and args.method != "ipet":
        parser.error(f"-{switched_off[0]} False goes with -method ipet; -method {args.method} says all")
    switches = {(): "ipet", ("adapter",): "prompt", ("embedding_prompt",): "adapter"}
    if args.method == "ipet":
        args.method = switches.get(tuple(switched_off), "finetune")
    if getattr(args, "keep_features", 0) and args.method == "finetune":
        parser.error(
            f"-keep_features {args.keep_features:g} is for frozen convolutions; -method finetune trains them"
        )
    if args.budget is not None and args.method in UNSIZED:
        parser.error(f"-budget {args.budget}: -method {args.method} has no size that could be chosen")
    if args.adapter_residual and args.adapter_position != "parallel":
        parser.error(
            f"-adapter_residual True goes with -adapter_position parallel, not {args.adapter_position}"
        )


def check_variable_length(parser: Parser, args) -> None:
    """Refuse what takes every clip of a batch to be of one length."""
    said = "-variable_length True hears every clip at its own length"
    if args.nb_seg > 1:
        parser.error(f"{said}, not in -nb_seg {args.nb_seg} segments of one; give -nb_seg 1")
    if args.method == "input_prompt":
        parser.error(f"{said}, and the border of -method input_prompt has one; accepted: any other method")
    for flag in ("patchout", "keep_features"):
        if getattr(args, flag, 0):
            parser.error(f"{said}, and -{flag} {getattr(args, flag):g} is for one; leave one of the two out")


def check_list_files(parser: Parser, args) -> None:
    """Refuse list files that are not numbered by folds where there are several."""
    for name in ("path_training_dataset", "path_evaluation_dataset"):
        path = getattr(args, name)
        number = NUMBER.search(path.stem) if path is not None else None
        if path is not None and args.fold > 1 and (number is None or int(number[0]) != 1):
            parser.error(
                f"-{name} {path.name}: of {args.fold} folds it names the file of fold 1, as in train_1.json; "
                "accepted: that file, or this one alone with -fold 1"
            )


SIZES = {  # what a setting is for
    "adapter_position": ("ipet", "adapter"),
    "adapter_hidden_dim": ("ipet", "adapter"),
    "embedding_prompt_num": ("ipet", "prompt", "prefix"),
    "lora_rank": ("lora",),
    "prefix_num": ("prefix",),
    "border": ("input_prompt",),
}


def given_flags(parser: Parser, argv) -> set[str]:
    """The names of the flags that the command line holds."""
    words = {word.split("=")[0] for word in (sys.argv[1:] if argv is None else argv)}
    return {action.dest for action in parser._actions if words & set(action.option_strings)}


def check_sizes(parser: Parser, args, given: set[str]) -> None:
    """Refuse settings that ``-method`` would leave aside; the authors' switches leave theirs aside."""
    for name in SIZES:
        if name in given and args.method not in SIZES[name] and "method" in given:
            parser.error(f"-{name} is for -method {' or '.join(SIZES[name])}, not for {args.method}")
        if name in given and args.budget and args.method != "ipet" and name != "adapter_position":
            parser.error(f"-{name} and -budget: the budget chooses the size; give one of the two")


def choose_cells(parser: Parser, args) -> None:
    """Check seeds and protocols; empty where they are not given: a run that goes on has its own."""
    args.rand_seed, args.protocol = tuple(args.rand_seed or ()), tuple(args.protocol or ())
    if len(set(args.rand_seed)) < len(args.rand_seed):
        parser.error(f"-seed {' '.join(map(str, args.rand_seed))}: each seed once, please")
    if args.protocol and not args.fold:
        parser.error(f"-protocol {args.protocol[0]}: only experiments with folds have a choice of protocols")
    if "nested" in args.protocol and args.fold < 3:
        parser.error(
            f"-protocol nested needs at least 3 folds, one to choose the epoch on; -fold is {args.fold}"
        )
