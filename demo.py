"""make demo: the commands a user would type, on generated sounds instead of a download.

Generates a tiny set in ESC-50's layout, prepares its lists, and trains ast_esc50 on its five
folds with a small backbone of random weights: no weights are downloaded either. What it shows is
the way, from recordings to a table and an adapter; accuracies worth having need pretrained weights.
(Guessing among its 5 classes is right in 20 % of the clips.)
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DATA = ROOT / "demo_data"
RUNS = DATA / "runs"
RUN = RUNS / "IPET" / "demo" / "first"
SETTINGS = (
    "-pretrained random -size tiny -frame_length 256 -freqm 12 -timem 24 -epoch 20 -lr 1e-2 -batch_size 8"
)


def run(*command: str, folder: Path = ROOT) -> None:
    """Show a command and run it; its failure is this one's."""
    print(f"\n$ {f'cd {folder.name} && ' * (folder != ROOT)}python3 {' '.join(command)}", flush=True)
    status = subprocess.run([sys.executable, *command], cwd=folder).returncode
    if status:
        sys.exit(status)


def main() -> None:
    """Generate, prepare, train."""
    argparse.ArgumentParser(description=__doc__).parse_args()  # -h, and nothing else
    start = time.perf_counter()
    shutil.rmtree(RUN, ignore_errors=True)  # the demo's own run, of the last time
    run("data/synthesize.py", "esc50", "demo_data/tiny/esc50", "-size", "tiny")
    run("data/prepare.py", "esc50", "demo_data/tiny/esc50", "-out", "demo_data/tiny/lists")
    where = (
        "-path_data ../demo_data/tiny/esc50 -path_list ../demo_data/tiny/lists -path_run ../demo_data/runs"
    )
    flags = ["-name", "first", "-tags", "demo", *where.split(), *SETTINGS.split()]
    run("main.py", *flags, folder=ROOT / "ast_esc50")
    size = (RUN / "seed_1234/fold_1/best/adapter.safetensors").stat().st_size
    print(
        f"\nDone in {time.perf_counter() - start:.0f} s. In {RUN.relative_to(ROOT)}: the table (summary.txt),"
        f"\neach fold's adapter (seed_1234/fold_1/best/, {size / 1024:.0f} KiB), its curves (metrics.jsonl)."
    )


if __name__ == "__main__":
    main()
