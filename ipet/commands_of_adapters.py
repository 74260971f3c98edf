"""Flags of ``python3 -m ipet COMMAND`` for saved adapters, and for lists: predict, inspect, push, doctor ...

Light on purpose: see ``__main__``.
"""

import time
from pathlib import Path

from ipet.audio_formats import scan_recordings, shown
from ipet.files import check_writable
from ipet.input_report import InputReport
from ipet.parsing import Help, Parser, count, number, positive, probability, size


def adapter_parser(command: str, usage: str, epilog: str) -> Parser:
    """The flags that the commands on a saved adapter share."""
    parser = Parser(usage=f"python3 -m ipet {command} {usage}", formatter_class=Help, epilog=epilog)
    add = parser.add_argument
    add("adapter", metavar="ADAPTER", help="last/ or best/ of a run, a copy of it, or a hub id")
    add(
        "-pretrained",
        default=None,
        metavar="WEIGHTS",
        help="the backbone's weights, where they are not to be had under the name that the adapter holds",
    )
    add("-device", default=None, help="such as cuda:0 or cpu; a GPU if there is one, if not given")
    add("-precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of products of matrices")
    return parser


def add_report(parser: Parser) -> None:
    """Add the flag of the account of recordings."""
    parser.add_argument(
        "-report",
        default=None,
        metavar="FILE",
        help="write as JSON what was found, used and left out, with the reasons; - is the standard output",
    )


def account(paths: list[Path], command: str) -> tuple[InputReport, list[Path]]:
    """Return the recordings of some files and folders, and the report of what was found and left out."""
    report = InputReport(shown(paths[0]) if len(paths) == 1 else command)
    recordings = scan_recordings(paths, report)
    report.print_warnings()
    return report, recordings


def predict(argv: list[str]) -> int:
    """Tell what is heard in recordings, by a saved adapter."""
    parser = adapter_parser("predict", "ADAPTER FILE ... [flags]", PREDICT_EXAMPLE)
    add = parser.add_argument
    add("file", nargs="+", type=Path, metavar="FILE", help="recordings, and folders of them")
    add("-top", "--top", type=size, default=5, help="classes of each")
    add("-csv", "--csv", type=Path, default=None, metavar="FILE", help="write there, and go on where it ends")
    add("-jsonl", "--jsonl", default=None, metavar="FILE", help="a JSON object a line; - is the screen")
    add("-timeline", action="store_true", help="window by window, of recordings of any length")
    add("-events", action="store_true", help="from when to when each class is heard")
    add("-hop", type=positive, default=None, metavar="SECONDS", help="between windows; half a window")
    add(
        "-threshold",
        type=probability,
        default=None,
        help="probability from which on a class is heard; if not given each class's own, which the "
        "validation list chose, or 0.5",
    )
    add_report(parser)
    flags = parser.parse_args(argv)
    if flags.jsonl == flags.report == "-":
        parser.error("-jsonl - and -report -: only one of them may be the standard output")
    if flags.timeline and flags.events:
        parser.error("-timeline and -events: one of the two, please")
    report, recordings = account(flags.file, "predict")
    check_writable(flags.csv)
    check_writable(flags.jsonl)
    check_writable(flags.report)

    from ipet.commands import predict
    from ipet.inference import load

    return predict(
        load(flags.adapter, flags.device, flags.pretrained, flags.precision),
        recordings,
        "timeline" if flags.timeline else "events" if flags.events else "clips",
        flags.top,
        flags.hop,
        flags.threshold,
        flags.csv,
        flags.jsonl,
        report,
        flags.report,
    )


PREDICT_EXAMPLE = """example:
  python3 -m ipet predict runs/IPET/ast_esc50/first/seed_1234/fold_1/last recordings/ -csv heard.csv
"""


def embed(argv: list[str]) -> int:
    """Write embeddings of recordings, by a saved adapter."""
    parser = adapter_parser("embed", "ADAPTER FILE ... -out FILE.npz", EMBED_EXAMPLE)
    parser.add_argument("file", nargs="+", type=Path, metavar="FILE", help="recordings, and folders of them")
    parser.add_argument("-out", type=Path, required=True, metavar="FILE", help=".npz or .parquet")
    add_report(parser)
    flags = parser.parse_args(argv)
    report, recordings = account(flags.file, "embed")
    check_writable(flags.out)
    check_writable(flags.report)

    from ipet.commands import check_format, embed
    from ipet.inference import load

    check_format(flags.out)
    model = load(flags.adapter, flags.device, flags.pretrained, flags.precision)
    return embed(model, recordings, flags.out, report, flags.report)


EMBED_EXAMPLE = """example:
  python3 -m ipet embed runs/IPET/ast_esc50/first/seed_1234/fold_1/last recordings/ -out embeddings.npz
"""


def verify(argv: list[str]) -> int:
    """Score how alike two voices are, or a list of trials."""
    parser = adapter_parser("verify", "ADAPTER ONE OTHER | -trials FILE", VERIFY_EXAMPLE)
    add = parser.add_argument
    add("file", nargs="*", type=Path, metavar="FILE", help="two recordings")
    add("-trials", "--trials", type=Path, default=None, metavar="FILE", help="a list of trials instead")
    add("-path_data", type=Path, default=Path(), metavar="DIR", help="where the trials' paths start")
    add("-scoring", choices=("mean_distance", "cosine"), default=None, help="the training's if not given")
    add("-csv", "--csv", type=Path, default=None, metavar="FILE", help="the trials' scores")
    add("-json", "--json", default=None, metavar="FILE", help="write what is told there; - is the screen")
    flags = parser.parse_args(argv)
    check_writable(flags.csv)
    check_writable(flags.json)

    from ipet.commands import check_two, verify
    from ipet.inference import load
    from ipet.trials import read_trial_rows

    if flags.trials is None:
        check_two(flags.file)
    else:
        read_trial_rows(flags.trials)
    model = load(flags.adapter, flags.device, flags.pretrained, flags.precision)
    return verify(model, flags.file, flags.trials, flags.path_data, flags.scoring, flags.csv, flags.json)


VERIFY_EXAMPLE = """example:
  python3 -m ipet verify runs/IPET/ast_voxceleb/first/seed_1234/last one.wav other.wav
"""


def inspect(argv: list[str]) -> int:
    """Tell what a saved adapter's prompts and adapters do, layer by layer."""
    parser = adapter_parser("inspect", "ADAPTER LIST [flags]", INSPECT_EXAMPLE)
    add = parser.add_argument
    add("list", type=Path, metavar="LIST", help="a list of clips, its labels.csv beside it")
    add(
        "-path_data",
        type=Path,
        default=None,
        metavar="DIR",
        help="where the list's paths start; the list's folder if not given",
    )
    add(
        "-trials",
        type=Path,
        default=None,
        metavar="FILE",
        help="of speakers: trials of the list's utterances",
    )
    add(
        "-clips",
        type=size,
        default=None,
        metavar="N",
        help="take a random part of the list; all if not given",
    )
    add("-seed", type=count, default=1234, help="of that draw")
    add("-csv", "--csv", type=Path, default=None, metavar="FILE", help="a row a layer, and one of all")
    add(
        "-json", default=None, metavar="FILE", help="write everything there; - prints it instead of the table"
    )
    add("-out", type=Path, default=None, metavar="DIR", help="write all of these and plots there")
    flags = parser.parse_args(argv)

    from ipet.inference import load
    from ipet.inspection import inspect

    return inspect(
        load(flags.adapter, flags.device, flags.pretrained, flags.precision),
        Path(flags.adapter),
        flags.list,
        flags.path_data,
        flags.trials,
        flags.clips,
        flags.seed,
        flags.pretrained,
        flags.csv,
        flags.json,
        flags.out,
    )


INSPECT_EXAMPLE = """example:
  python3 -m ipet inspect runs/IPET/ast_esc50/first/seed_1234/fold_1/last data/esc50/eval_1.json \\
      -path_data /data/ESC-50-master -out insight
The list is heard some times a layer: -clips 200 is a fast first look. docs/insight.md says what is told.
"""


def push(argv: list[str]) -> int:
    """Hand a saved adapter on, by the Hugging Face hub."""
    parser = Parser(
        usage="python3 -m ipet push ADAPTER OWNER/NAME [flags]", formatter_class=Help, epilog=PUSH_EXAMPLE
    )
    add = parser.add_argument
    add("adapter", type=Path, metavar="ADAPTER", help="last/ or best/ of a run, or a copy of it")
    add("hub_id", metavar="OWNER/NAME", help="the repository, made if it is not there")
    add("-public", action="store_true", help="a new repository is seen by everybody")
    add("-card", action="store_true", help="write README.md beside the adapter, for you to edit, and stop")
    flags = parser.parse_args(argv)

    from ipet.share import push, write_card

    if flags.card:
        print(f"{write_card(flags.adapter, flags.hub_id)}: edit it, then push")
    else:
        print(push(flags.adapter, flags.hub_id, private=not flags.public))
    return 0


PUSH_EXAMPLE = """example:
  python3 -m ipet push runs/IPET/ast_esc50/first/seed_1234/fold_1/last somebody/sounds
Needs a login (hf auth login, or HF_TOKEN). Whoever has access uses it by ipet.load("somebody/sounds").
"""


def doctor(argv: list[str]) -> int:
    """Examine lists and their recordings, and propose how to train on them."""
    parser = Parser(
        usage="python3 -m ipet doctor LISTS [-path_data DIR] [-content KIND] [-json FILE]",
        formatter_class=Help,
        epilog=DOCTOR_EXAMPLE,
    )
    add = parser.add_argument
    add("lists", type=Path, metavar="LISTS", help="a folder that data/prepare.py wrote, or one list of it")
    add(
        "-path_data",
        type=Path,
        default=None,
        metavar="DIR",
        help="where the lists' paths start; the lists' folder if not given",
    )
    add(
        "-content",
        choices=("sounds", "music", "speech"),
        default=None,
        help="what was recorded: proposes the backbone that knows it; both if not given",
    )
    add("-json", default=None, metavar="FILE", help="write all that was found there; - is the screen")
    flags = parser.parse_args(argv)

    from ipet.doctor import doctor

    return doctor(flags.lists, flags.path_data, flags.json, flags.content)


DOCTOR_EXAMPLE = """example:
  python3 -m ipet doctor data/drums -path_data /data/drums -json drums.json
The exit status is 1 where something must be mended: recordings that cannot be used, the same audio in
training and evaluation, or with different labels, and classes that are evaluated without being trained.
"""


def export(argv: list[str]) -> int:
    """Write a saved adapter with its backbone as one ONNX or torch.export file."""
    parser = Parser(
        usage="python3 -m ipet export ADAPTER OUT [flags]", formatter_class=Help, epilog=EXPORT_EXAMPLE
    )
    add = parser.add_argument
    add("adapter", type=Path, metavar="ADAPTER", help="last/ or best/ of a run, a copy of it, or a hub id")
    add("out", type=Path, metavar="OUT", help="folder of the files")
    add("-format", choices=("onnx", "torch"), nargs="+", default=["onnx"], help="onnx; torch: torch.export's")
    add("-pretrained", default=None, metavar="WEIGHTS", help="the backbone's, if they lie elsewhere now")
    flags = parser.parse_args(argv)

    from ipet.export import FORMATS, check_packages, export
    from ipet.inference import load

    for name in flags.format:
        check_packages(name)
    model = load(flags.adapter, "cpu", flags.pretrained)
    for name, difference in export(model, flags.out, tuple(flags.format)).items():
        print(f"{flags.out / FORMATS[name]}: differs from the model by at most {difference:.1e}")
    return 0


EXPORT_EXAMPLE = """example:
  python3 -m ipet export runs/IPET/ast_esc50/first/seed_1234/fold_1/last exported
  python3 -m ipet export runs/IPET/w2v_gtzan/first/seed_1234/fold_1/last exported -format onnx torch
The file takes one segment of samples at 16 kHz and gives probabilities; model.json beside it says how
long a segment is and what the classes are. ONNX needs: python3 -m pip install onnx onnxscript onnxruntime
"""


def serve(argv: list[str]) -> int:
    """Show a page on which saved adapters hear recordings, on this machine alone."""
    parser = Parser(
        usage="python3 -m ipet serve ADAPTER ... [flags]", formatter_class=Help, epilog=SERVE_EXAMPLE
    )
    add = parser.add_argument
    add("adapter", nargs="+", metavar="ADAPTER", help="last/ or best/ of runs, copies of them, or hub ids")
    add("-host", default="127.0.0.1", metavar="ADDRESS", help="listen there; another one is seen by others")
    add("-port", type=number(int, 0, 65_535), default=7860, help="0: a free one")
    add("-names", nargs="+", default=(), metavar="NAME", help="by which it is reached, as of a reverse proxy")
    add("-max_mb", type=positive, default=64.0, metavar="MB", help="of a recording's file")
    add("-max_minutes", type=positive, default=30.0, metavar="MINUTES", help="of a recording")
    add(
        "-queue",
        type=size,
        default=20,
        metavar="N",
        help="questions that may wait; one is answered at a time",
    )
    add("-no_reports", action="store_true", help="link no reports of runs, which name paths and arguments")
    add("-open", action="store_true", help="show it in this machine's browser")
    add("-pretrained", default=None, metavar="WEIGHTS", help="the backbone's, if they lie elsewhere now")
    add("-device", default=None, help="such as cuda:0 or cpu; a GPU if there is one, if not given")
    add("-precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of products of matrices")
    flags = parser.parse_args(argv)

    began = time.perf_counter()
    from ipet.serve import serve

    return serve(
        flags.adapter,
        flags.host,
        flags.port,
        flags.names,
        flags.max_mb,
        flags.max_minutes,
        flags.queue,
        not flags.no_reports,
        flags.open,
        flags.device,
        flags.pretrained,
        flags.precision,
        began,
    )


SERVE_EXAMPLE = """example:
  python3 -m ipet serve runs/IPET/ast_esc50/first/seed_1234/fold_1/last speakers/last
From elsewhere: ssh -L 7860:127.0.0.1:7860 HOST, then http://127.0.0.1:7860 there. docs/serve.md says more.
"""


def migrate(argv: list[str]) -> int:
    """Rewrite saved adapters of an earlier version as this one writes them."""
    parser = Parser(usage="python3 -m ipet migrate FOLDER ...", formatter_class=Help, epilog=MIGRATE_EXAMPLE)
    parser.add_argument("folder", nargs="+", type=Path, metavar="FOLDER", help="adapters lie there or below")
    flags = parser.parse_args(argv)

    from ipet.saved import migrate, saved_below

    folders = [folder for top in flags.folder for folder in saved_below(top)]
    changed = sum(map(migrate, folders))
    print(f"{changed} of {len(folders)} saved adapters rewritten")
    return 0


MIGRATE_EXAMPLE = """example:
  python3 -m ipet migrate runs
All of this version's commands read the earlier ones, too. Whatever ends it, each folder can be read.
"""
