"""Command-line flags: shared groups, and an experiment's defaults, checked.

Light on purpose: nothing here imports torch, so that ``-h`` answers at once.
"""

import argparse
import json
from pathlib import Path

from ipet import limits
from ipet.argument_checks import (
    FINE_TUNING,
    check_data,
    check_list_files,
    check_sizes,
    check_variable_length,
    choose_cells,
    choose_method,
    given_flags,
)
from ipet.kinds import kinds_that_hear
from ipet.list_files import FLAGS, count_list_files, list_file
from ipet.model_arguments import add_ast, add_verification, add_wav2vec2
from ipet.openmp import limit_spinning
from ipet.original_arguments import add_original_ast, add_original_speech, translate
from ipet.output_pipe import guard_output
from ipet.parsing import (
    LOGGERS,
    REPOSITORY,
    Help,
    Joined,
    Parser,
    add_switch,
    gpu_numbers,
    interval,
    list_files,
    list_folder,
    logger_names,
    not_negative,
    number,
    parameters,
    part_of_path,
    positive,
    probability,
    size,
)
from ipet.published_lists import count_folds, is_published
from ipet.releases import is_lenient

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

AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974  # of its log-mels (AST, Gong et al. 2021)


# Groups -------------------------------------------------------------------------------------------


def add_run(parser: Parser) -> None:
    """Where a run is written, and how it goes on."""
    group = parser.add_argument_group("run")
    add = group.add_argument
    add("-name", type=part_of_path, help="of this run; must be given")
    add(
        "-tags",
        type=part_of_path,
        help="folder that related runs share, with one folder for each experiment; default: the experiment",
    )
    add("-project", type=part_of_path, default="IPET", help="the folder above")
    add(
        "-path_run",
        "-path_logging",
        type=Path,
        default=REPOSITORY / "runs",
        metavar="DIR",
        help="where runs are written",
    )
    add("-description", default="", metavar="TEXT", help="text about the run, for arguments.json and loggers")
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
    add(
        "-number_iteration_for_log",
        type=size,
        default=1,
        metavar="N",
        help="loggers get the loss of every Nth training step; metrics.jsonl has every step",
    )


def add_hardware(parser: Parser) -> None:
    """Devices, processes, precision."""
    group = parser.add_argument_group("hardware")
    add = group.add_argument
    add(
        "-usable_gpu",
        type=gpu_numbers,
        action=Joined,
        nargs="+",
        default=None,
        metavar="0,1",
        help="numbers of the GPUs to use; all if not given",
    )
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
        help="auto: bf16 on a GPU that computes in it, else fp32; a CPU without bf16 units is slow in bf16",
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
        help="processes that read clips, in all, shared by the training processes, at least one each, "
        "or none with 0; by device if not given",
    )
    add_switch(
        group,
        "-flag_reproducible",
        "-flag_reproduciable",
        default=True,
        help="use deterministic algorithms on a GPU, which may be slower; those of a CPU always are",
    )


def add_data(parser: Parser) -> None:
    """Lists and recordings."""
    group = parser.add_argument_group("data")
    add = group.add_argument
    add("-path_list", type=Path, metavar="DIR", help="folder of the lists and labels.csv")
    add(
        "-path_data",
        type=Path,
        metavar="DIR",
        help="where the lists' paths start; of the five data sets the folder of the release, one above it "
        "or one in it; default: -path_list",
    )
    add(
        "-path_training_dataset",
        type=Path,
        default=None,
        metavar="FILE",
        help="training list, in place of that of path_list; the last number of its name is the fold, if any",
    )
    add(
        "-path_validation_dataset",
        type=Path,
        default=None,
        metavar="FILE",
        help="validation list, in place of that of path_list",
    )
    add(
        "-path_evaluation_dataset",
        type=Path,
        default=None,
        metavar="FILE",
        help="evaluation list, in place of that of path_list; numbered as path_training_dataset is",
    )
    add(
        "-path_data_label",
        type=Path,
        default=None,
        metavar="FILE",
        help="table of the classes, in place of labels.csv of path_list",
    )
    add("-fold", type=number(int, 0, limits.FOLDS), default=0, help="how many folds; 0: none")
    add("-path_cache", type=Path, default=None, metavar="DIR", help="keep decoded recordings there")
    add(
        "-on_bad_audio",
        choices=("stop", "skip"),
        default=None,
        help="what a recording that cannot be used does: end the run, or leave its clips out, which "
        "skipped_clips.json then names; with skip all are decoded before training; default: stop, but of the "
        "five data sets recordings that are missing or cannot be opened are left out",
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
    add_switch(group, "-amsgrad", default=False, help="the AMSGrad variant of Adam")
    add("-classification_loss", choices=("cce", "bce"), help="cross-entropy, or binary for each class")
    add(
        "-head_bias",
        choices=("published", "prior"),
        default="published",
        help="the head begins with the authors' 1e-4, or with how frequent each class is among the training "
        "clips; in short trainings with bce that decides whether what lies below it learns anything",
    )
    add(
        "-eval_every",
        type=size,
        default=1,
        metavar="N",
        help="evaluate every N epochs, and the last; among these alone the best epoch is looked for",
    )
    add_switch(
        group,
        "-test_every_epoch",
        default=False,
        help="evaluate the test list after each epoch, too, as the authors do: best epoch, running means; "
        "models are chosen on the validation list all the same",
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
    add(
        "-init_adapter",
        default=None,
        metavar="PATH",
        help="begin from a saved adapter, a folder or a hub id; classes are matched by name, and may be "
        "added or left out",
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
    add(
        "-border",
        "-input_prompt_num",
        type=size,
        default=16,
        help="width of the border of -method input_prompt, in mels and frames on every side",
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


PREFIX = {add_ast: "ast", add_wav2vec2: "w2v"}  # of an experiment's name
ORIGINAL = {add_ast: add_original_ast, add_wav2vec2: add_original_speech}  # flags of the original code
AUTHORS = {  # what -authors True sets, where the command line does not
    add_ast: {"adapter_init": "normal"},
    add_wav2vec2: {"adapter_init": "normal", "adapter_residual": True},
}


def parse(argv, add_groups, defaults: dict) -> argparse.Namespace:
    """Parse the flags of an experiment, with its defaults; see ``ast_arguments``.

    The command line itself (``argv`` None) begins a process, whose output and threads are set up here: before
    anything is printed, and before torch is imported.
    """
    if argv is None:
        guard_output()
    defaults = dict(defaults)
    lr, lr_finetune = defaults.pop("lr", None), defaults.pop("lr_finetune", None)
    parser = Parser(usage="python3 main.py -name NAME [flags]", formatter_class=Help, epilog=EXAMPLE)
    groups = (add_run, add_data, add_training, add_choice, add_tuning, *add_groups, add_hardware)
    for add in (*groups, ORIGINAL[add_groups[0]]):
        add(parser)
    parser.set_defaults(**defaults)
    parser.add_to_help("lr", f" (default: {lr}, for fine-tuning {lr_finetune})")
    args = parser.parse_args(argv)
    if args.authors:
        parser.set_defaults(**AUTHORS[add_groups[0]])
        args = parser.parse_args(argv)
    translate(parser, args, given_flags(parser, argv), PREFIX[add_groups[0]])
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
    check_list_files(parser, args)
    args.usable_gpu = args.usable_gpu or None
    if args.lr is None:
        args.lr = lr_finetune if args.method in FINE_TUNING and lr_finetune else lr
    choose_cells(parser, args)
    if args.pretrained is None:
        args.pretrained = kinds_that_hear("waveform")[args.model_type]
    given = args.path_data is not None
    if not given:
        lists = args.path_training_dataset
        args.path_data = lists.expanduser().parent if lists is not None else args.path_list
    if "path_trial" in args and args.path_trial is None:
        args.path_trial = args.path_list / "trials.txt"
    for name, value in vars(args).items():
        if isinstance(value, Path):
            setattr(args, name, value.expanduser().resolve())
    if args.init_adapter is not None and Path(args.init_adapter).expanduser().exists():
        args.init_adapter = str(Path(args.init_adapter).expanduser().resolve())
    if "more_trials" in args:
        args.more_trials = tuple(path.expanduser().resolve() for path in args.more_trials)
        if len({path.stem for path in args.more_trials}) < len(args.more_trials):
            parser.error("-more_trials: lists are told apart by their names; two have the same")
    if argv is None:  # the command line is answered before torch is loaded
        check_data(parser, args, given)
        limit_spinning()
    return args


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
    folder, files = list_folder(argv, REPOSITORY / "data" / "own"), list_files(argv)
    found = {"path_list": folder, "classification_loss": "cce"}
    found["fold"] = len(list(folder.glob("train_[0-9]*.json")))
    if is_published(folder):
        found["fold"] = count_folds(folder)
    if FLAGS["train"] in files:  # without a validation list, one list is one fold
        found["fold"] = 0 if FLAGS["valid"] in files else count_list_files(files[FLAGS["train"]]) or 1
    if log_mels:
        found |= {"norm_mean": AUDIOSET_MEAN, "norm_std": AUDIOSET_STD}
    try:
        name = "train_1.json" if found["fold"] else "train.json"
        first = list_file(folder, name, files, found["fold"])
        clips = json.loads(first.read_text(encoding="utf-8"))["data"]
        if any("," in clip["labels"] or not clip["labels"] for clip in clips):
            found["classification_loss"] = "bce"
        if log_mels and (folder / "stats.json").is_file():
            stats = json.loads((folder / "stats.json").read_text(encoding="utf-8"))
            found |= {"norm_mean": float(stats["mean"]), "norm_std": float(stats["std"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return found


# What the modules take, as plain values -----------------------------------------------------------


def folder_of_lists(args) -> Path:
    """Return the folder of the training list: that of ``-path_training_dataset``, or else ``-path_list``."""
    return args.path_list if args.path_training_dataset is None else args.path_training_dataset.parent


def leaves_out(args) -> bool:
    """Return whether clips whose recordings are missing or unreadable are left out of the lists."""
    return args.on_bad_audio == "skip" or (args.on_bad_audio is None and is_lenient(folder_of_lists(args)))


def list_values(args) -> dict:
    """Keywords of ``fold_datasets``, ``split_datasets`` and ``verification_datasets``."""
    values = {"folder": args.path_list, "root": args.path_data, "mixup": args.mixup}
    values["check_files"] = not leaves_out(args)
    files = {name: getattr(args, name) for name in FLAGS.values()}
    values["files"] = {name: path for name, path in files.items() if path is not None}
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
    values = {"path_trial": args.path_trial, "noises": noises, "top": args.as_norm}
    return values | {"valid_speakers": args.valid_speakers}


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
