"""Command-line flags: shared groups, and an experiment's defaults, checked.

Light on purpose: nothing here imports torch, so that ``-h`` answers at once.
"""

import argparse
import difflib
import json
import math
import sys
from pathlib import Path

from ipet import limits
from ipet.kinds import kinds_that_hear
from ipet.parsing import list_folder, read_interval

REPOSITORY = Path(__file__).resolve().parents[1]
PROTOCOLS = ("last", "best_epoch", "common_epoch", "nested")
SEED, PROTOCOL = 1234, "last"  # of a new run
METHODS = (
    "ipet",
    "prompt",
    "adapter",
    "input_prompt",
    "finetune",
    "finetune_transformer",
    "linear",
    "bitfit",
    "lora",
    "prefix",
)

LOGGERS = ("tensorboard", "neptune", "trackio", "wandb", "mlflow")
FINE_TUNING = ("finetune", "finetune_transformer")
AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974  # of its log-mels (AST, Gong et al. 2021)
UNSIZED = (*FINE_TUNING, "linear", "bitfit")


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

    def add_to_help(self, name: str, text: str) -> None:
        """Add to a flag's help what no plain default tells."""
        next(action for action in self._actions if action.dest == name).help += text

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
        """The number that a flag's word says."""
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        inside = (low < value if above else low <= value) and value <= high
        if not inside or math.isinf(value):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {name}")
        return value

    return parse


def part_of_path(text: str) -> str:
    """A folder's name: no separators, not ``..``."""
    if not text.isprintable() or text in ("", ".", "..") or set(text) & set("/\\"):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a folder's name")
    return text


def names(text: str) -> tuple[str, ...]:
    """``a,b`` -> ("a", "b")."""
    return tuple(name for name in text.split(",") if name)


def logger_names(text: str) -> tuple[str, ...]:
    """Names of loggers, of those there are."""
    unknown = [name for name in names(text) if name not in LOGGERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown logger {unknown[0]!r}; accepted: {', '.join(LOGGERS)}")
    return names(text)


class Joined(argparse.Action):
    """Words that are tuples each, ``a,b c``, as one tuple without repetitions."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Keep it."""
        setattr(namespace, self.dest, tuple(dict.fromkeys(name for word in values for name in word)))


def gpu_numbers(text: str) -> tuple[int, ...]:
    """``0,1`` -> (0, 1)."""
    if not all(part.isdigit() for part in names(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of GPU numbers such as 0,1")
    return tuple(map(int, names(text)))


finite = number(float)


def parameters(text: str) -> int:
    """``300k`` -> 300000, ``1.5M`` -> 1500000."""
    units = {"k": 1_000, "m": 1_000_000}
    unit = units.get(text[-1:].lower(), 1)
    try:
        value = float(text[:-1] if unit > 1 else text) * unit
    except ValueError:
        value = math.nan
    if not 1 <= value <= limits.PARAMETERS:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no number of parameters such as 300k, 1.5M or 250000, at most "
            f"{limits.PARAMETERS}"
        )
    return int(value)


def interval(text: str) -> str:
    """``500`` steps or ``10m`` minutes, as it is."""
    try:
        read_interval(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None
    return text


count, size = number(int, 0, limits.WHOLE_NUMBER), number(int, 1, limits.WHOLE_NUMBER)
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
    add("-tags", type=part_of_path, help="the folder its kind of runs share; the experiment if not given")
    add("-project", type=part_of_path, default="IPET", help="the folder above")
    add("-path_run", type=Path, default=REPOSITORY / "runs", metavar="DIR", help="where runs are written")
    add_switch(group, "-resume", default=False, help="go on with a run that was stopped, or add cells to it")
    add(
        "-checkpoint_every",
        type=interval,
        default="10m",
        metavar="N",
        help="what -resume goes on from is written every N steps, or minutes (10m), and at every epoch's end",
    )
    add(
        "-logger",
        type=logger_names,
        action=Joined,
        nargs="+",
        default="tensorboard",
        metavar="A",
        help=f"one or several of {', '.join(LOGGERS)}; '' for none; metrics.jsonl is always written",
    )


def add_hardware(parser: Parser) -> None:
    """Devices, processes, precision."""
    group = parser.add_argument_group("hardware")
    add = group.add_argument
    add("-usable_gpu", type=gpu_numbers, default=None, metavar="0,1", help="GPUs to use; all if not given")
    add(
        "-nproc",
        type=number(int, 1, limits.PROCESSES),
        default=None,
        help="processes; one a GPU, or one on the CPU, if not given",
    )
    add(
        "-precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="auto: bf16 on a GPU that computes in it, else fp32",
    )
    add(
        "-micro_batch_size",
        type=size,
        default=None,
        help="clips a process trains on at once; its share of batch_size if not given; less memory, the same "
        "gradients",
    )
    add_switch(
        group,
        "-checkpoint_activations",
        default=False,
        help="keep each layer's input alone for the backward pass: less memory, more time",
    )
    add(
        "-timeout",
        type=number(float, 0, limits.MINUTES, above=True),
        default=30.0,
        metavar="MINUTES",
        help="that a process may keep the others waiting within a step before they give the run up",
    )
    add(
        "-num_workers",
        type=number(int, 0, limits.PROCESSES),
        default=None,
        help="clip readers a process; by device if not given",
    )
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
    add("-fold", type=number(int, 0, limits.FOLDS), default=0, help="how many folds; 0: none")
    add("-path_cache", type=Path, default=None, metavar="DIR", help="keep decoded recordings there")
    add(
        "-on_bad_audio",
        choices=("stop", "skip"),
        default="stop",
        help="what a recording that cannot be used does: end the run, or leave its clips out, which "
        "skipped_clips.json then names; all are decoded before training",
    )
    add(
        "-nb_seg",
        type=number(int, 1, limits.SEGMENTS),
        default=1,
        help="segments of a clip in evaluation; 1: one cut",
    )
    add_switch(
        group,
        "-whole_periods",
        default=True,
        help="a clip shorter than a segment is repeated for whole periods, not cut at the segment",
    )
    add(
        "-mixup",
        type=probability,
        default=0.0,
        metavar="P",
        help="share of training clips mixed with another",
    )
    add(
        "-frame_length",
        type=number(int, 1, limits.FRAMES),
        help="frames of 10 ms that the backbone sees of a clip",
    )
    add_switch(
        group,
        "-variable_length",
        default=False,
        help="a clip shorter than frame_length is heard at its own length, neither repeated nor filled up",
    )


def add_rates(group) -> None:
    """Learning rates, and how they change."""
    add = group.add_argument
    add("-lr", type=positive, help="learning rate of the first epochs")
    add("-head_lr", type=positive, default=None, help="learning rate of the head; lr if not given")
    add("-prompt_lr", type=positive, default=None, help="learning rate of prompts, prefixes; lr if not given")
    add(
        "-lr_schedule",
        choices=("step", "cosine"),
        default=None,
        help="step, if not given: by the three flags that follow; cosine: down to 0 at the last step",
    )
    add("-lr_decay_start_epoch", type=size, default=5, help="first epoch after which it decays")
    add("-lr_decay_end_epoch", type=size, default=26, help="first epoch after which it no longer does")
    add("-gamma", type=positive, default=0.85, help="factor of a decay")
    add("-warmup_epoch", type=not_negative, default=0.0, help="epochs in which the rate rises, such as 0.5")


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
    add_rates(group)
    add(
        "-on_nonfinite",
        choices=("stop", "skip"),
        default="stop",
        help="what a step without a finite loss and gradient does: end the run, or leave the update out and "
        "list its clips in metrics.jsonl",
    )
    add("-weight_decay", "-weigth_decay", type=not_negative, default=5e-7, help="L2")
    add("-classification_loss", choices=("cce", "bce"), help="cross-entropy, or binary for each class")
    add(
        "-eval_every",
        type=size,
        default=1,
        metavar="N",
        help="evaluate every N epochs, and the last; among these alone the best epoch is looked for",
    )
    add(
        "-patience",
        type=size,
        default=None,
        metavar="N",
        help="stop after N epochs that are no better on the validation list; never if not given",
    )
    add(
        "-rand_seed",
        "-seed",
        type=number(int, 0, limits.SEED),
        nargs="+",
        default=None,
        metavar="N",
        help=f"of everything random; several: one repeat each (default: {SEED}, or a resumed run's)",
    )
    add(
        "-protocol",
        choices=PROTOCOLS,
        nargs="+",
        default=None,
        help="without a validation list: the first is reported, all are shown; nested has its own trainings "
        f"(default: {PROTOCOL}, or a resumed run's)",
    )


def add_choice(parser: Parser) -> None:
    """Which training clips are heard, and how much they weigh."""
    group = parser.add_argument_group("few or rare clips")
    add = group.add_argument
    add_switch(group, "-class_weights", default=False, help="rare classes weigh more in the loss")
    add_switch(group, "-balanced_sampler", default=False, help="clips of rare classes are drawn more often")
    add(
        "-shots",
        type=size,
        default=None,
        metavar="K",
        help="train on K clips of each class, drawn by the seed; on all if not given",
    )


def add_tuning(parser: Parser) -> None:
    """The method and its settings."""
    group = parser.add_argument_group("tuning")
    add = group.add_argument
    add(
        "-method",
        choices=METHODS,
        default="ipet",
        help="what is trained beside the head: ipet is prompts and adapters",
    )
    add(
        "-budget",
        type=parameters,
        default=None,
        metavar="300k",
        help="trainable parameters, head included, that the method's sizes are solved for",
    )
    add_switch(group, "-embedding_prompt", default=True, help="False: ipet without prompts")
    add(
        "-embedding_prompt_num",
        type=number(int, 1, limits.PROMPTS),
        help="prompts before every layer's input",
    )
    add_switch(group, "-adapter", default=True, help="False: ipet without adapters; both: finetune")
    add("-adapter_hidden_dim", type=number(int, 1, limits.BOTTLENECK), help="the bottleneck's width")
    add(
        "-adapter_position",
        choices=("parallel", "sequential", "houlsby"),
        default="parallel",
        help="beside the feed-forward, behind it, or behind it and the attention",
    )
    add("-adapter_scalar", type=not_negative, default=0.1, help="its output's factor")
    add("-adapter_dropout", type=probability, default=0.1, help="after its ReLU")
    add("-adapter_init", choices=("zero", "normal"), default="zero", help="zero: starts silent")
    add_switch(
        group,
        "-adapter_residual",
        default=False,
        help="the adapter adds its input too, as the authors' wav2vec 2.0 does",
    )
    add("-lora_rank", type=number(int, 1, limits.BOTTLENECK), default=8, help="of -method lora")
    add(
        "-prefix_num",
        type=number(int, 1, limits.PROMPTS),
        default=None,
        help="keys and values a layer of -method prefix; embedding_prompt_num if not given",
    )
    add("-border", type=size, default=16, help="mels and frames of -method input_prompt on every side")
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
        default=kinds_that_hear("log_mel")["ast"],
        metavar="WEIGHTS",
        help="ast_small (of this repository), a .pth, .bin or .safetensors file, a folder, a hub id, "
        "imagenet, random",
    )
    add(
        "-size",
        choices=("base", "small", "tiny"),
        default=None,
        help="of the backbone; the weights' own, or base, if not given",
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
        choices=("base", "small", "tiny"),
        default=None,
        help="of a random backbone; base if not given",
    )
    add(
        "-model_type",
        choices=speech,
        default="wav2vec2",
        help="kind of the backbone, which -pretrained must be of",
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
        "-path_musan", type=Path, default=None, metavar="DIR", help="MUSAN's root; data/musan lists its files"
    )
    add("-path_rir", type=Path, default=None, metavar="DIR", help="RIRS_NOISES; data/rirs lists its files")
    add(
        "-path_noise_list",
        type=Path,
        default=REPOSITORY / "data",
        metavar="DIR",
        help="folder of the lists musan/ and rirs/",
    )


PREFIX = {add_ast: "ast", add_wav2vec2: "w2v"}  # of an experiment's name
AUTHORS = {  # what -authors True sets, where the command line does not
    add_ast: {"adapter_init": "normal"},
    add_wav2vec2: {"adapter_init": "normal", "adapter_residual": True},
}


def parse(argv, add_groups, defaults: dict) -> argparse.Namespace:
    """The flags of an experiment, with its defaults; see ``ast_arguments``."""
    defaults = dict(defaults)
    lr, lr_finetune = defaults.pop("lr", None), defaults.pop("lr_finetune", None)
    parser = Parser(usage="python3 main.py -name NAME [flags]", formatter_class=Help, epilog=EXAMPLE)
    for add in (add_run, add_data, add_training, add_choice, add_tuning, *add_groups, add_hardware):
        add(parser)
    parser.set_defaults(**defaults)
    parser.add_to_help("lr", f" (default: {lr}, for fine-tuning {lr_finetune})")
    args = parser.parse_args(argv)
    if args.authors:
        parser.set_defaults(**AUTHORS[add_groups[0]])
        args = parser.parse_args(argv)
    if args.name is None:
        parser.error("-name is missing: what shall this run be called?")
    if bool(args.fold) != bool(defaults.get("fold")):
        parser.error(
            f"-fold {args.fold}: this experiment "
            + ("has folds; at least 1 is needed" if defaults.get("fold") else "has no folds")
        )
    if args.tags is None:
        args.tags = f"{PREFIX[add_groups[0]]}_{Path(defaults.get('path_list', 'own')).name}"
    choose_method(parser, args)
    check_sizes(parser, args, given_flags(parser, argv))
    if args.variable_length:
        check_variable_length(parser, args)
    if args.lr is None:
        args.lr = lr_finetune if args.method in FINE_TUNING and lr_finetune else lr
    choose_cells(parser, args)
    if args.pretrained is None:
        args.pretrained = kinds_that_hear("waveform")[args.model_type]
    if args.path_data is None:
        args.path_data = args.path_list
    if "path_trial" in args and args.path_trial is None:
        args.path_trial = args.path_list / "trials.txt"
    for name, value in vars(args).items():
        if isinstance(value, Path):
            setattr(args, name, value.expanduser().resolve())
    if "more_trials" in args:
        args.more_trials = tuple(path.expanduser().resolve() for path in args.more_trials)
        if len({path.stem for path in args.more_trials}) < len(args.more_trials):
            parser.error("-more_trials: lists are told apart by their names; two have the same")
    return args


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


MORE = {"classification": [], "verification": [add_verification]}  # groups of a task
EXAMPLE = """example:
  python3 main.py -name first -path_data /data/recordings
  torchrun --nproc_per_node 4 main.py -name second -path_data /data/recordings
"""


def ast_arguments(argv=None, task: str = "classification", **defaults) -> argparse.Namespace:
    """Parse the flags of an AST experiment.

    Args:
        argv: the command line, ``sys.argv`` by default.
        task: ``classification`` or ``verification``.
        defaults: this experiment's row of the settings; ``lr_finetune`` is the learning rate of
            ``-method finetune``, ``lr`` that of every other method.

    Raises:
        TypeError: a default that is no flag.
        SystemExit: the command line is wrong; the reason is printed.
    """
    return parse(argv, [add_ast, *MORE[task]], defaults)


def wav2vec2_arguments(argv=None, task: str = "classification", **defaults) -> argparse.Namespace:
    """Parse the flags of a wav2vec 2.0 experiment; see ``ast_arguments``."""
    return parse(argv, [add_wav2vec2, *MORE[task]], defaults)


def lists(dataset: str) -> dict[str, Path]:
    """Where ``data/prepare.py`` writes a dataset's lists, as a default."""
    return {"path_list": REPOSITORY / "data" / dataset}


def own_lists(argv=None, log_mels: bool = False) -> dict:
    """What the folder that ``-path_list`` names says itself, as defaults.

    That is how many folds it has, ``cce`` or ``bce`` for clips of one label or several, and, with
    ``log_mels``, the mean and standard deviation that ``data/prepare.py -stats`` left in stats.json, or
    AudioSet's.
    A folder that cannot be read is left to what reads the lists, which says what is wrong.
    """
    folder = list_folder(argv, REPOSITORY / "data" / "own")
    found = {"path_list": folder, "classification_loss": "cce"}
    found["fold"] = len(list(folder.glob("train_[0-9]*.json")))
    if log_mels:
        found |= {"norm_mean": AUDIOSET_MEAN, "norm_std": AUDIOSET_STD}
    try:
        first = folder / ("train_1.json" if found["fold"] else "train.json")
        clips = json.loads(first.read_text(encoding="utf-8"))["data"]
        if any("," in clip["labels"] for clip in clips):
            found["classification_loss"] = "bce"
        if log_mels and (folder / "stats.json").is_file():
            stats = json.loads((folder / "stats.json").read_text(encoding="utf-8"))
            found |= {"norm_mean": float(stats["mean"]), "norm_std": float(stats["std"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return found


# What the modules take, as plain values -----------------------------------------------------------


def list_values(args) -> dict:
    """Keywords of ``fold_datasets``, ``split_datasets`` and ``verification_datasets``."""
    values = {"folder": args.path_list, "root": args.path_data, "mixup": args.mixup}
    values["check_files"] = args.on_bad_audio == "stop"
    return values | ({"num_folds": args.fold} if args.fold else {})


def trial_values(args) -> dict:
    """What ``verification_datasets`` takes beside the lists."""
    noises = {
        "folder_musan": args.path_noise_list / "musan",
        "root_musan": args.path_musan,
        "folder_rir": args.path_noise_list / "rirs",
        "root_rir": args.path_rir,
    }
    noises = noises if args.add_musan_rir else None
    return {"path_trial": args.path_trial, "noises": noises, "top": args.as_norm}


def log_mel_cut_values(args) -> dict:
    """Keywords of ``log_mel_cuts``."""
    return {
        "num_frames": args.frame_length,
        "window_ms": args.winlen,
        "hop_ms": args.winstep,
        "train_crop": args.train_crop,
        "num_segments": args.nb_seg,
    }


def waveform_cut_values(args) -> dict:
    """Keywords of ``waveform_cuts``."""
    return {
        "num_frames": args.frame_length,
        "num_segments": args.nb_seg,
        "variable_length": args.variable_length,
    }


def method_values(args) -> dict:
    """Keywords of ``tuned_classifier``: the method, its budget, its settings."""
    settings = {
        "num_prompts": args.embedding_prompt_num,
        "bottleneck": args.adapter_hidden_dim,
        "scale": args.adapter_scalar,
        "dropout": args.adapter_dropout,
        "residual": args.adapter_residual,
        "init": args.adapter_init,
        "position": args.adapter_position,
        "rank": args.lora_rank,
        "num_prefixes": args.prefix_num or args.embedding_prompt_num,
        "border": args.border,
    }
    return {"method": args.method, "budget": args.budget, "settings": settings}


def ast_values(args) -> dict:
    """Keywords of ``ast_classifier``."""
    return {
        "front_end": {
            "num_mels": args.nfilts,
            "num_frames": args.frame_length,
            "mean": args.norm_mean,
            "std": args.norm_std,
            "window_ms": args.winlen,
            "hop_ms": args.winstep,
            "window": args.winfunc,
            "num_segments": args.nb_seg,
            "whole_periods": args.whole_periods,
            "variable_length": args.variable_length,
        },
        "masks": (args.freqm, args.timem),
        "noise": args.add_noise,
        "backbone": {
            "num_frames": args.frame_length,
            "num_mels": args.nfilts,
            "stride": (args.fstride, args.tstride),
            "size": args.size,
            "pretrained": args.pretrained,
            "patchout": args.patchout,
        },
        "method": method_values(args),
    }


def wav2vec2_values(args) -> dict:
    """Keywords of ``wav2vec2_classifier``."""
    return {
        "front_end": {
            "num_frames": args.frame_length,
            "num_segments": args.nb_seg,
            "whole_periods": args.whole_periods,
            "variable_length": args.variable_length,
        },
        "backbone": {
            "size": args.size,
            "pretrained": args.pretrained,
            "num_frames": args.frame_length,
            "model_type": args.model_type,
        },
        "method": method_values(args),
    }
