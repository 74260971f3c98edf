"""Command-line flags: shared groups, and an experiment's defaults, checked.

Light on purpose: nothing here imports torch, so that ``-h`` answers at once.
"""

import argparse
import difflib
import math
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows every flag's default, where it has one, and the example as it is written."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse, strict: no abbreviated flags, no misspelt defaults, and a hint for a misspelt flag."""

    def _get_option_tuples(self, option_string):
        return []  # argparse abbreviates single-dash flags even with allow_abbrev=False

    def error(self, message):
        """One line, without the two dozen lines of usage."""
        self.exit(2, f"error: {message} (-h lists the flags)\n")

    def flags(self) -> list[str]:
        """Every flag and alias."""
        return [flag for action in self._actions for flag in action.option_strings]

    def parse_args(self, args=None, namespace=None):
        """Parse; an unknown flag is an error that names the nearest known one."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown argument {unknown[0]!r}{suggest(unknown[0], self.flags())}")
        return parsed

    def set_defaults(self, **defaults) -> None:
        """Change defaults; raises TypeError for a name that is no flag."""
        known = [action.dest for action in self._actions]
        for name in defaults:
            if name not in known:
                raise TypeError(f"default {name!r} is no flag{suggest(name, known)}")
        super().set_defaults(**defaults)


def suggest(name: str, known: list[str]) -> str:
    """``; did you mean X?``, or nothing."""
    close = difflib.get_close_matches(name.split("=")[0], known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


# Types: each turns a flag's text into a value or says what it accepts -----------------------------


def boolean(text: str) -> bool:
    """``True`` or ``False``, in any case."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")


def number(kind: type, low: float = -math.inf, high: float = math.inf, above: bool = False):
    """A type for finite numbers in [low, high], or in (low, high] with ``above``."""
    name = "a whole number" if kind is int else "a number"
    if low > -math.inf:
        name += f" {'above' if above else 'at least'} {low}"
    if high < math.inf:
        name += f", at most {high}"

    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        inside = (low < value if above else low <= value) and value <= high
        if not (inside and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {name}")
        return value

    return parse


def part_of_path(text: str) -> str:
    """A folder's name: no separators, not ``..``."""
    if not text or text in (".", "..") or set(text) & set("/\\\0"):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a folder's name")
    return text


def names(text: str) -> tuple[str, ...]:
    """``a,b`` -> ("a", "b")."""
    return tuple(name for name in text.split(",") if name)


def logger_names(text: str) -> tuple[str, ...]:
    """Names of loggers, of those there are."""
    unknown = [name for name in names(text) if name not in ("tensorboard", "neptune")]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown logger {unknown[0]!r}; accepted: tensorboard, neptune")
    return names(text)


def gpu_numbers(text: str) -> tuple[int, ...]:
    """``0,1`` -> (0, 1)."""
    if not all(part.isdigit() for part in names(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of GPU numbers such as 0,1")
    return tuple(map(int, names(text)))


finite = number(float)
count, size = number(int, 0), number(int, 1)
positive, not_negative = number(float, 0, above=True), number(float, 0)
probability = number(float, 0, 1)


# Groups -------------------------------------------------------------------------------------------


def add_switch(group, *flags: str, default: bool, help: str) -> None:
    """A flag that takes True or False; alone it means True."""
    group.add_argument(
        *flags, type=boolean, nargs="?", const=True, default=default, metavar="BOOL", help=help
    )


def add_run(parser: Parser) -> None:
    """Where a run is written, and how it goes on."""
    group = parser.add_argument_group("run")
    add = group.add_argument
    add("-name", type=part_of_path, help="of this run; must be given")
    add("-tags", type=part_of_path, default="untagged", help="the folder its kind of runs share")
    add("-project", type=part_of_path, default="IPET", help="the folder above")
    add("-path_run", type=Path, default=REPOSITORY / "runs", metavar="DIR", help="where runs are written")
    add_switch(group, "-resume", default=False, help="go on with a run that was stopped")
    add(
        "-logger",
        type=logger_names,
        default="tensorboard",
        metavar="A,B",
        help="tensorboard, neptune; metrics.jsonl is always written",
    )


def add_hardware(parser: Parser) -> None:
    """Devices, processes, precision."""
    group = parser.add_argument_group("hardware")
    add = group.add_argument
    add("-usable_gpu", type=gpu_numbers, default=None, metavar="0,1", help="GPUs to use; all if not given")
    add("-nproc", type=size, default=None, help="processes; one a GPU, or one on the CPU, if not given")
    add(
        "-precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="auto: bf16 on a GPU that computes in it, else fp32",
    )
    add("-num_workers", type=count, default=None, help="clip readers a process; by device if not given")
    add_switch(
        group,
        "-flag_reproducible",
        "-flag_reproduciable",
        default=False,
        help="deterministic algorithms on a GPU, at some cost; a CPU's are anyway",
    )


def add_data(parser: Parser) -> None:
    """Lists and recordings."""
    group = parser.add_argument_group("data")
    add = group.add_argument
    add("-path_list", type=Path, metavar="DIR", help="folder of the lists and labels.csv")
    add("-path_data", type=Path, metavar="DIR", help="where the lists' paths start; -path_list if not given")
    add("-fold", type=count, default=0, help="how many folds; 0: train, valid and test lists")
    add(
        "-mixup",
        type=probability,
        default=0.0,
        metavar="P",
        help="share of training clips mixed with another",
    )
    add("-frame_length", type=size, help="frames of 10 ms that the backbone sees of a clip")


def add_training(parser: Parser) -> None:
    """Optimisation."""
    group = parser.add_argument_group("training")
    add = group.add_argument
    add("-epoch", type=size, help="how many epochs")
    add("-batch_size", type=size, help="clips a step, over all processes")
    add(
        "-eval_batch_size",
        type=size,
        default=None,
        help="clips at once in evaluation; batch_size if not given",
    )
    add("-lr", type=positive, help="learning rate of the first epochs")
    add("-lr_decay_start_epoch", type=size, default=5, help="first epoch after which it decays")
    add("-lr_decay_end_epoch", type=size, default=26, help="first epoch after which it no longer does")
    add("-gamma", type=positive, default=0.85, help="factor of a decay")
    add("-weight_decay", "-weigth_decay", type=not_negative, default=5e-7, help="L2")
    add("-classification_loss", choices=("cce", "bce"), help="cross-entropy, or binary for each class")
    add("-rand_seed", "-seed", type=count, default=1234, help="of everything random")


def add_tuning(parser: Parser) -> None:
    """The method. Both switches off: the whole backbone is fine-tuned."""
    group = parser.add_argument_group("tuning (both switches off: full fine-tuning)")
    add = group.add_argument
    add_switch(group, "-embedding_prompt", default=True, help="learnt vectors before every layer's input")
    add("-embedding_prompt_num", type=size, help="how many a layer")
    add_switch(group, "-adapter", default=True, help="a bottleneck beside every layer's feed-forward")
    add("-adapter_hidden_dim", type=size, help="the bottleneck's width")
    add("-adapter_scalar", type=not_negative, default=0.1, help="its output's factor")
    add("-adapter_dropout", type=probability, default=0.1, help="after its ReLU")
    add("-adapter_init", choices=("zero", "normal"), default="zero", help="zero: starts silent")
    add_switch(
        group,
        "-adapter_residual",
        default=False,
        help="the adapter adds its input too, as the authors' wav2vec 2.0 does",
    )
    add_switch(
        group,
        "-frozen_dropout",
        default=True,
        help="the frozen backbone's dropout, time masks and LayerDrop are on in training",
    )
    add_switch(
        group, "-authors", default=False, help="initialise and connect adapters as the authors' code does"
    )


def add_ast(parser: Parser) -> None:
    """The Audio Spectrogram Transformer and its log-mels."""
    group = parser.add_argument_group("AST and its log-mels")
    add = group.add_argument
    add(
        "-pretrained",
        default="MIT/ast-finetuned-audioset-10-10-0.4593",
        metavar="WEIGHTS",
        help="a .pth, .bin or .safetensors file, a folder, a hub id, imagenet, random",
    )
    add("-size", choices=("base", "small", "tiny"), default="base", help="of the backbone")
    add("-fstride", type=size, default=10, help="mels between patches")
    add("-tstride", type=size, default=10, help="frames between patches")
    add("-winlen", type=number(float, 1), default=25.0, help="ms of a frame")
    add("-winstep", type=number(float, 1), default=10.0, help="ms between frames")
    add("-winfunc", choices=("hanning", "hamming", "povey", "rectangular"), default="hanning", help="window")
    add("-nfilts", type=number(int, 16), default=128, help="mels")
    add("-norm_mean", type=finite, help="of the training list's log-mels")
    add("-norm_std", type=positive, help="of the training list's log-mels")
    add("-freqm", type=count, default=0, help="mels masked at most")
    add("-timem", type=count, default=0, help="frames masked at most")
    add_switch(group, "-add_noise", default=False, help="noise on the log-mels, and a roll in time")
    add("-train_crop", choices=("first", "random"), default="first", help="part of a long training clip")


def add_wav2vec2(parser: Parser) -> None:
    """wav2vec 2.0."""
    group = parser.add_argument_group("wav2vec 2.0")
    add = group.add_argument
    add(
        "-pretrained",
        default="facebook/wav2vec2-base",
        metavar="WEIGHTS",
        help="a folder in Hugging Face's layout, a hub id, random",
    )
    add("-size", choices=("base", "small", "tiny"), default="base", help="of a random backbone")


AUTHORS = {  # what -authors True sets, where the command line does not
    add_ast: {"adapter_init": "normal"},
    add_wav2vec2: {"adapter_init": "normal", "adapter_residual": True},
}


def parse(argv, add_backbone, defaults: dict) -> argparse.Namespace:
    """The flags of an experiment, with its defaults; see ``ast_arguments``."""
    parser = Parser(usage="python3 main.py -name NAME [flags]", formatter_class=Help, epilog=EXAMPLE)
    for add in (add_run, add_data, add_training, add_tuning, add_backbone, add_hardware):
        add(parser)
    parser.set_defaults(**defaults)
    args = parser.parse_args(argv)
    if args.authors:
        parser.set_defaults(**AUTHORS[add_backbone])
        args = parser.parse_args(argv)
    if args.name is None:
        parser.error("-name is missing: what shall this run be called?")
    if bool(args.fold) != bool(defaults.get("fold")):
        parser.error(
            f"-fold {args.fold}: this experiment "
            + (
                "has folds; at least 1 is needed"
                if defaults.get("fold")
                else "has no folds, but train, valid and test lists"
            )
        )
    if args.path_data is None:
        args.path_data = args.path_list
    for name in ("path_run", "path_list", "path_data"):
        setattr(args, name, getattr(args, name).expanduser().resolve())
    return args


EXAMPLE = """example:
  python3 main.py -name first -tags mine -path_data /data/esc50
  torchrun --nproc_per_node 4 main.py -name first -tags mine -path_data /data/esc50
"""


def ast_arguments(argv=None, **defaults) -> argparse.Namespace:
    """Parse the flags of an AST experiment.

    Args:
        argv: the command line, ``sys.argv`` by default.
        defaults: this experiment's row of the settings.

    Raises:
        TypeError: a default that is no flag.
        SystemExit: the command line is wrong; the reason is printed.
    """
    return parse(argv, add_ast, defaults)


def wav2vec2_arguments(argv=None, **defaults) -> argparse.Namespace:
    """Parse the flags of a wav2vec 2.0 experiment; see ``ast_arguments``."""
    return parse(argv, add_wav2vec2, defaults)


def lists(dataset: str) -> dict[str, Path]:
    """Where ``data/prepare.py`` writes a dataset's lists, as a default."""
    return {"path_list": REPOSITORY / "data" / dataset}


# What the modules take, as plain values -----------------------------------------------------------


def tuning_values(args) -> dict:
    """Keywords of ``tuning.Tuning``."""
    return {
        "num_prompts": args.embedding_prompt_num if args.embedding_prompt else 0,
        "bottleneck": args.adapter_hidden_dim if args.adapter else 0,
        "scale": args.adapter_scalar,
        "dropout": args.adapter_dropout,
        "residual": args.adapter_residual,
        "init": args.adapter_init,
    }


def log_mel_values(args) -> dict:
    """Keywords of ``features.LogMel``."""
    return {
        "num_mels": args.nfilts,
        "num_frames": args.frame_length,
        "mean": args.norm_mean,
        "std": args.norm_std,
        "window_ms": args.winlen,
        "hop_ms": args.winstep,
        "window": args.winfunc,
    }


def ast_values(args) -> dict:
    """Keywords of ``build_ast``."""
    return {
        "num_frames": args.frame_length,
        "num_mels": args.nfilts,
        "stride": (args.fstride, args.tstride),
        "size": args.size,
        "pretrained": args.pretrained,
    }


def wav2vec2_values(args) -> dict:
    """Keywords of ``build_wav2vec2``."""
    return {"size": args.size, "pretrained": args.pretrained, "num_frames": args.frame_length}
