"""What a command line's flags say together: they are checked, and one follows from another."""

import shlex
import sys
from pathlib import Path

from ipet.clip_entries import ListedClip
from ipet.list_files import NUMBER
from ipet.parsing import Parser
from ipet.published_lists import is_published, read_list
from ipet.releases import RELEASES, commands, data_root, release_of, without_flags

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


def check_data(parser: Parser, args, given: bool) -> None:
    """Refuse a command line whose lists or recordings are not there, with the commands that help.

    Args:
        given: Whether ``-path_data`` was given.
    """
    if args.path_training_dataset is not None:  # lists of the user's own, which the readers check
        return
    name, words = release_of(args.path_list), sys.argv[1:]
    if name is not None:
        try:
            data_root(args.path_list, args.path_data)
        except (OSError, ValueError) as error:
            title = RELEASES[name].title
            reason = f"-path_data {error}" if given else f"-path_data is missing: the folder of {title}"
            noises = getattr(args, "add_musan_rir", False) and args.path_musan is None
            refuse_data(parser, reason, commands(name, words, noises))
    elif is_published(args.path_list):
        first = next((c[0].wav for path in args.path_list.glob("*.json") if (c := list_or_none(path))), "")
        if not given and not Path(first).is_file():
            lines = [shlex.join(["python3", "main.py", *words, "-path_data", "DIR"])]
            refuse_data(
                parser, f"-path_data is missing: the folder of the recordings of {args.path_list}", lines
            )
    elif not (args.path_list / "labels.csv").is_file() and not any(args.path_list.glob("*.json")):
        kept = without_flags(words, {"-path_list", "-path_data"})
        train = ["python3", "main.py", *kept, "-path_list", "../data/drums", "-path_data", "/data/drums"]
        lines = ["python3 ../data/prepare.py folder /data/drums", shlex.join(train)]
        refuse_data(
            parser, f"{args.path_list}/labels.csv: no such label table; -path_list names lists", lines
        )


def list_or_none(path: Path) -> list[ListedClip] | None:
    """Return the clips of a list; None where it cannot be read, which is reported later."""
    try:
        return read_list(path)
    except (OSError, ValueError):
        return None


def refuse_data(parser: Parser, reason: str, lines: list[str]) -> None:
    """End with an error and the commands that help, one a line."""
    steps = "".join(f"  {line}\n" for line in lines)
    parser.exit(2, f"error: {reason}\n{steps}")
