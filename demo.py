"""make demo: what a small pretrained backbone, frozen, brings to a task that it was not trained for.

Generates a data set, prepares its lists, and tunes the backbone that ships with this repository in
five ways, by the commands that a user would type: a linear probe, embedding prompts, adapters, IPET
(both), and fine-tuning. Then it shows their table, draws it, and lets a new model with IPET's saved
adapter hear two clips that it was not trained on. Nothing is downloaded.

    python3 demo.py                                   ast_esc50
    python3 demo.py w2v_speechcommands                any of the ten experiments
    python3 demo.py w2v_speechcommands -methods ipet finetune_transformer
    python3 demo.py w2v_speechcommands -- -seed 1 2 3     behind --: flags of every main.py
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ipet.openmp import limit_spinning
from ipet.output_pipe import guard_output

ROOT = Path(__file__).resolve().parent
OUT = ROOT / "demo_data"  # where a demo writes unless it is told otherwise
SIGN = "made_by_demo.txt"  # in the folder of a demo's runs
METHODS = ("linear", "prompt", "adapter", "ipet", "finetune")  # shown if none are asked for


class Rates(NamedTuple):
    """Learning rates: a new head has all to learn, a pretrained backbone little."""

    linear: float
    prompt: float
    adapter: float  # also of IPET
    finetune: float  # of the backbone
    head: float  # of the head above these four


class Demo(NamedTuple):
    """How an experiment is shown: few frames, few epochs, small sizes."""

    frames: int  # of 10 ms, that the backbone sees
    epochs: int  # in bf16; fewer in fp32, which is slower: see FP32_SHARE
    batch_size: int
    prompts: int  # a layer
    bottleneck: int  # of the adapters
    rates: Rates
    flags: str  # others of main.py


# Few steps: what holds back overfitting holds back learning first, and rates rise, then fall to zero. What
# adapters read, a layer's state, is large in these backbones: their way down wants a small rate, which is too
# small for the way up, and the scalar makes up for it. Chosen on folds and lists that are not reported.
SHORT = "-mixup 0 -adapter_dropout 0 -lr_schedule cosine -warmup_epoch 0.3"
AST = f"{SHORT} -adapter_scalar 4 -freqm 0 -timem 0 -patchout 0.5"
W2V = f"{SHORT} -adapter_scalar 8 -frozen_dropout False"
AST_RATES = Rates(linear=2e-2, prompt=1e-2, adapter=3e-3, finetune=3e-4, head=1e-2)
W2V_RATES = Rates(linear=1e-2, prompt=5e-3, adapter=1e-3, finetune=5e-4, head=1e-2)

# fmt: off
DEMOS = {
    "ast_esc50":          Demo(256, 7, 16,  4, 32, AST_RATES, f"{AST} -fold 1 -eval_every 2"),
    "ast_fsd50k":         Demo(256, 5, 16,  4, 32, AST_RATES, f"{AST} -head_bias prior"),
    "ast_gtzan":          Demo(256, 7, 16,  4, 32, AST_RATES, f"{AST} -fold 1 -nb_seg 3"),
    "ast_speechcommands": Demo(128, 7, 16,  4, 32, AST_RATES, f"{AST} -classification_loss cce"),
    "ast_voxceleb":       Demo(200, 6, 16,  4, 32, AST_RATES, f"{AST} -nb_seg 2"),
    "w2v_esc50":          Demo(256, 5, 16, 16, 80, W2V_RATES, f"{W2V} -fold 1"),
    "w2v_fsd50k":         Demo(256, 4, 16, 16, 64, W2V_RATES, f"{W2V} -head_bias prior"),
    "w2v_gtzan":          Demo(256, 7, 16, 16, 80, W2V_RATES, f"{W2V} -fold 1 -nb_seg 3"),
    "w2v_speechcommands": Demo(128, 10, 16, 16, 80, W2V_RATES, f"{W2V} -classification_loss cce"),
    "w2v_voxceleb":       Demo(200, 4, 16, 16, 80, W2V_RATES, f"{W2V} -nb_seg 2"),
}
# fmt: on
SETS = {  # of data/synthesize.py and data/prepare.py, by what an experiment's name ends with
    "esc50": "esc50",
    "fsd50k": "fsd50k",
    "gtzan": "gtzan",
    "speechcommands": "speech_commands",
    "voxceleb": "voxceleb1",
}
FP32_SHARE = 0.6  # of the epochs, on a processor without bf16, so that a demo takes no longer
BACKBONES = {"ast": "ast_small", "w2v": "wav2vec2_small"}
NOISES = ("musan", "rirs")  # mixed into the training clips of w2v_voxceleb


def main() -> None:
    """Generate, prepare, train five times, compare, and hear two clips."""
    guard_output()
    flags = get_args()
    limit_spinning()  # also in the commands that it runs
    start = time.perf_counter()
    name, out = flags.experiment, flags.out.expanduser().resolve()
    out = out if flags.size == "demo" else out / flags.size
    runs = out / "runs" / "IPET" / name
    clear(runs, flags.methods)
    prepare(SETS[name[4:]], out, flags.size, stats=name.startswith("ast"))
    if name == "w2v_voxceleb":
        for noises in NOISES:
            prepare(noises, out, flags.size)
    for method in flags.methods:
        run("main.py", *main_flags(name, out, method, flags.further), folder=ROOT / name)
    show_table(runs, out / name, flags.methods)
    heard = "ipet" if "ipet" in flags.methods else flags.methods[-1]
    hear(name, [str(word) for word in main_flags(name, out, heard, flags.further)])
    print(
        f"\nDone in {time.perf_counter() - start:.0f} s. Everything lies in {out}: {name}/ (table.md, "
        f"{name}/pareto.png and others), runs/IPET/{name}/ (a folder a method, with its adapters), "
        "the generated recordings, and lists/ of them."
    )


def get_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Which experiment, and how large; ``further``: what stands behind ``--``."""
    names = (*METHODS, "finetune_transformer")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("experiment", nargs="?", choices=DEMOS, default="ast_esc50", metavar="EXPERIMENT")
    add("-size", choices=("tiny", "demo", "large"), default="demo", help="of the generated set")
    add("-out", type=Path, default=OUT, metavar="DIR", help="where all is written")
    add("-methods", nargs="+", choices=names, default=METHODS, metavar="METHOD", help=", ".join(names))
    argv = sys.argv[1:] if argv is None else argv
    own, further = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    return argparse.Namespace(**vars(parser.parse_args(own)), further=further)


def run(*command: str | Path, folder: Path = ROOT) -> None:
    """Show a command, its paths as seen from its folder, and run it; its failure is this one's."""
    words = [os.path.relpath(word, folder) if isinstance(word, Path) else word for word in command]
    enter = f"cd {folder.name} && " if folder != ROOT else ""
    print(f"\n$ {enter}python3 {shlex.join(words)}", flush=True)
    status = subprocess.run([sys.executable, *words], cwd=folder).returncode
    if status:
        sys.exit(status)


def prepare(name: str, out: Path, size: str, stats: bool = False) -> None:
    """Generate a set in ``out/<name>``, unless the last demo did, and write its lists."""
    lists = out / "lists" / name
    run("data/synthesize.py", name, out / name, "-size", size, "-refresh")
    run("data/prepare.py", name, out / name, "-out", lists, *["-stats"] * stats)


def main_flags(name: str, out: Path, method: str, further: list[str]) -> list[str | Path]:
    """The flags of ``main.py`` for one method of an experiment."""
    demo, data, kind = DEMOS[name], SETS[name[4:]], precision()
    values = {
        "name": method,
        "tags": name,
        "path_data": out / data,
        "path_list": out / "lists" / data,
        "path_cache": out / "cache" / data,
        "path_run": out / "runs",
        "pretrained": BACKBONES[name[:3]],
        "method": method,
        "frame_length": demo.frames,
        "epoch": demo.epochs if kind != "fp32" else round(FP32_SHARE * demo.epochs),
        "batch_size": demo.batch_size,
        "lr": getattr(demo.rates, method.partition("_")[0], demo.rates.adapter),
        "head_lr": demo.rates.linear if method == "linear" else demo.rates.head,
        "precision": kind,
    }
    if method in ("prompt", "ipet"):
        values["embedding_prompt_num"] = demo.prompts
    if method in ("adapter", "ipet"):
        values["adapter_hidden_dim"] = demo.bottleneck
    if name.startswith("w2v") and method != "finetune":
        values["keep_features"] = 1
    if name.startswith("ast"):
        stats = json.loads((out / "lists" / data / "stats.json").read_text())
        values |= {"norm_mean": round(stats["mean"], 4), "norm_std": round(stats["std"], 4)}
    if name == "w2v_voxceleb":
        values |= {"path_musan": out / "musan", "path_rir": out / "rirs", "path_noise_list": out / "lists"}
    words = [word for flag, value in values.items() for word in (f"-{flag}", value)]
    return [*(word if isinstance(word, Path) else str(word) for word in words), *demo.flags.split(), *further]


def precision() -> str:
    """bf16 also on a CPU that multiplies matrices in it (AMX, AVX-512 BF16): it is twice as fast there."""
    from ipet.devices import best_device, fast_precision  # here and below: slow, and -h answers without

    return "auto" if best_device() == "cuda" else fast_precision()


def clear(runs: Path, methods: Sequence[str]) -> None:
    """Delete the runs that the last demo recorded as its own, and record those to come.

    Args:
        runs: Folder of the experiment's runs; others may lie in it, and stay.
        methods: Names of the runs to come.

    Raises:
        SystemExit: A run of such a name is there that no demo has recorded.
    """
    sign = runs / SIGN
    recorded = sign.read_text().splitlines()[1:] if sign.is_file() else []
    for name in set(recorded) & {*METHODS, "finetune_transformer"}:
        shutil.rmtree(runs / name, ignore_errors=True)
    theirs = [name for name in methods if (runs / name).exists()]
    if theirs:
        sys.exit(
            f"error: {runs / theirs[0]}: a run that no demo recorded; expected another -out, or none there"
        )
    runs.mkdir(parents=True, exist_ok=True)
    sign.write_text("\n".join(["The demo deletes these runs when it is started again:", *methods]) + "\n")


def show_table(runs: Path, out: Path, methods: Sequence[str]) -> None:
    """Print a row a method, and write the report's tables and plots."""
    from ipet.report import read_runs, report, row_of

    status = report([runs], formats=(), out=out)
    if status:
        sys.exit(status)
    rows = {row["method"]: row for row in map(row_of, read_runs([runs], None, errors=[]))}
    metric = rows[methods[0]]["metric"]
    lines = [("method", f"{metric} (%)", "95 % interval", "trainable", "share (%)", "seconds", "file (KiB)")]
    for row in (rows[method] for method in methods):
        share = row["trainable_parameters"] / row["all_parameters"]
        lines.append(
            (
                row["method"],
                f"{100 * row['value']:.1f}",
                "-" if row["low"] is None else f"{100 * row['low']:.1f} - {100 * row['high']:.1f}",
                f"{row['trainable_parameters']:,}",
                f"{100 * share:.2f}",
                f"{row['seconds']:.0f}",
                f"{row['checkpoint_bytes'] / 1024:,.0f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines)]
    print()
    for first, *others in lines:
        print("  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]))


def hear(name: str, flags: list[str]) -> None:
    """Let a new model with a run's saved adapter hear two clips, or judge two trials, that were held out."""
    import ipet
    from ipet.arguments import SEED
    from ipet.description import WEIGHTS
    from ipet.experiment import run_folder
    from ipet.splits import Cell
    from ipet.summary import cell_name

    sys.path.insert(0, str(ROOT / name))
    from arguments import get_args
    from dataset import build_datasets

    args = get_args(flags)
    cell = Cell(*(args.rand_seed or [SEED])[:1], fold=1 if args.fold else None)
    datasets = build_datasets(args, cell)
    folder = run_folder(vars(args), name) / cell_name(*cell)
    epoch = "best" if "test" in datasets.evaluation else "last"  # never the best on what is heard
    model = ipet.load(folder / epoch)
    print(f"\nHeard by a new model with {folder / epoch / WEIGHTS}:")
    if datasets.trials is None:
        hear_clips(model, datasets.evaluation.get("test") or datasets.evaluation["eval"], args.path_data)
    else:
        hear_trials(model, datasets, args.scoring, folder / "predictions.npz")


def hear_clips(model, clips, root: Path) -> None:
    """Print what the model takes two clips of the reported list for, and what they are."""
    for clip in (clips.clips[len(clips) // 3], clips.clips[2 * len(clips) // 3]):
        truth = ", ".join(clips.labels.names[c] for c in clip.classes)
        answers = (f"{name} {100 * p:.1f} %" for name, p in model.predict(clip.path, top=3))
        print(f"  {clip.path.relative_to(root)} is {truth}\n    heard: {', '.join(answers)}")


def hear_trials(model, datasets, scoring: str, predictions: Path) -> None:
    """Print the first target's and the first nontarget's score, and on which side of the threshold it is.

    Args:
        predictions: the run's scores of all trials; the threshold is where they have equal error rates.
    """
    import numpy as np
    from sklearn.metrics import roc_curve

    with np.load(predictions) as kept:
        false_alarm, hit, thresholds = roc_curve(kept["targets"], kept["scores"])
    threshold = thresholds[np.abs(1 - hit - false_alarm).argmin()]
    (pairs, targets), clips = datasets.trials, datasets.evaluation["eval"].clips
    for truth, i in (("same speaker", np.argmax(targets)), ("different speakers", np.argmin(targets))):
        paths = [clips[k].path for k in pairs[i]]
        score = model.similarity(*paths, scoring)
        heard = "the same" if score >= threshold else "different"
        print(f"  {' and '.join('/'.join(path.parts[-3:]) for path in paths)}: {truth}")
        print(f"    heard: {heard}, score {score:.3f}, threshold {threshold:.3f}")


if __name__ == "__main__":
    main()
