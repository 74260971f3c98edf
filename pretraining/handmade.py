"""What needs no backbone: the mean and the deviation of log-mels, and a logistic regression.

    python3 -m pretraining.handmade DATA train_1:eval_1 train_2:eval_2

DATA is a folder of lists and recordings; a pair names the list to fit on and the one that is scored. A
backbone that does not beat this has brought nothing to a task.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ipet.audio import Recordings
from ipet.features import LogMel
from ipet.lists import read_clips, read_labels
from ipet.output_pipe import guard_output


def features(data: Path, name: str) -> tuple[np.ndarray, list[str]]:
    """[N, 2 M] means and standard deviations over time of whole clips' log-mels, and their classes."""
    front_end, recordings = LogMel(num_mels=128, num_frames=1, mean=0, std=1), Recordings()
    clips = read_clips(data / f"{name}.json", data, read_labels(data / "labels.csv"), flag="DATA")
    rows = []
    for clip in clips:
        log_mel = front_end.log_mel(recordings.read(clip.path)[None])[0]
        rows.append(np.concatenate([log_mel.mean(0), log_mel.std(0, correction=0)]))
    return np.stack(rows), [str(clip.classes) for clip in clips]


def accuracy_of(data: Path, train: str, held_out: str) -> float:
    """The share of the held-out list's clips whose label is found."""
    x, y = features(data, train)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)).fit(x, y)
    return fitted.score(*features(data, held_out))


def main() -> None:
    """Print each pair's accuracy, and their mean."""
    guard_output()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="lists and recordings")
    parser.add_argument("pairs", nargs="+", metavar="TRAIN:EVAL", help="names of lists")
    args = parser.parse_args()
    values = []
    for pair in args.pairs:
        values.append(accuracy_of(args.data, *pair.split(":")))
        print(f"{pair:<24}{100 * values[-1]:6.2f} %", flush=True)
    print(f"{'mean':<24}{100 * np.mean(values):6.2f} %")


if __name__ == "__main__":
    main()
