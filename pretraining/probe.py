"""What a backbone has learnt: a linear probe on it, and on the same network with random weights.

    python3 -m pretraining.probe ast_esc50 -path_data demo_data/esc50 -path_list demo_data/lists/esc50

takes an experiment and its flags. Every clip is heard once by the frozen backbone (no dropout, no
augmentation); on its standardised embedding a logistic regression is fitted, its penalty chosen by
cross-validation on the training list. Reported is the metric on the evaluation or test list: accuracy or
mAP; for verification the equal error rate of cosine scores behind a linear discriminant analysis of the
training speakers.
"""

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from tqdm import tqdm

from ipet.datasets import Datasets, EvaluationClips, RankShare, evaluation_loader
from ipet.metrics import accuracy, mean_average_precision
from ipet.output_pipe import guard_output
from ipet.scoring import score_trials
from ipet.splits import Cell
from ipet.verification_metrics import eer

ROOT = Path(__file__).resolve().parents[1]
PENALTIES = np.logspace(-3, 1, 5)
SHIPPED = {"ast": "ast_small", "w2v": "wav2vec2_small"}
RANDOM = {  # the same networks with random weights
    "ast": ["-pretrained", "random", "-size", "small", "-fstride", "16", "-tstride", "16"],
    "w2v": ["-pretrained", "random", "-size", "small"],
}


@torch.no_grad()
def embed(model: torch.nn.Module, clips: EvaluationClips, batch_size: int = 16) -> np.ndarray:
    """[N, S, E] embeddings of a list's clips and their segments."""
    loader = evaluation_loader(clips, RankShare(len(clips)), batch_size, num_workers=0, pin=False)
    embeddings = []
    for batch in tqdm(loader, desc="embedding", leave=False, disable=None):
        embedding = model.backbone(model.front_end(batch.waveform, batch.num_samples))
        embeddings.append(embedding.unflatten(0, (len(batch.num_samples), -1)))
    return torch.cat(embeddings).float().numpy()


def as_evaluated(datasets: Datasets) -> EvaluationClips:
    """The training list, cut as the others are."""
    train, other = datasets.train, next(iter(datasets.evaluation.values()))
    return EvaluationClips(train.clips, train.labels, other.cut)


def probe(model: torch.nn.Module, datasets: Datasets) -> float:
    """The metric of a linear probe on a list that it was not fitted on."""
    name = "test" if "test" in datasets.evaluation else "eval"
    x, y = embed(model, as_evaluated(datasets)), datasets.train.targets()
    held_out, targets = embed(model, datasets.evaluation[name]), datasets.evaluation[name].targets()
    repeated = np.repeat(y, x.shape[1], axis=0)  # a clip's segments share its target
    width, num_segments = x.shape[-1], held_out.shape[1]
    if datasets.trials is not None:
        analysis = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis("eigen", shrinkage="auto"))
        analysis.fit(x.reshape(-1, width), repeated.argmax(1))
        projected = normalize(analysis.transform(held_out.reshape(-1, width)))
        projected = torch.from_numpy(projected).unflatten(0, (-1, num_segments))
        return eer(score_trials(projected, datasets.trials.pairs, "cosine"), datasets.trials.targets)
    if (y.sum(1) == 1).all():
        fitted = LogisticRegressionCV(Cs=PENALTIES, cv=3, max_iter=300)
        fitted = make_pipeline(StandardScaler(), fitted).fit(x.reshape(-1, width), repeated.argmax(1))
        measure = accuracy
    else:
        fitted = OneVsRestClassifier(LogisticRegression(C=0.01, max_iter=300))
        fitted = make_pipeline(StandardScaler(), fitted).fit(x.reshape(-1, width), repeated)
        measure = mean_average_precision
    shares = fitted.predict_proba(held_out.reshape(-1, width)).reshape(len(held_out), num_segments, -1)
    scores = np.zeros(targets.shape)
    # A class without a training clip has no column.
    scores[:, np.flatnonzero(y.any(0)) if measure is accuracy else slice(None)] = shares.mean(1)
    return measure(scores, targets)


def values_of(experiment: str, flags: list[str]) -> list[float]:
    """The probe's metric on every fold, or on the one test list."""
    sys.path.insert(0, str(ROOT / experiment))
    arguments, dataset, model = map(importlib.import_module, ("arguments", "dataset", "model"))
    args = arguments.get_args(["-name", "probe", "-method", "linear", *flags])
    values = []
    for fold in range(1, args.fold + 1) if args.fold else [None]:
        datasets = dataset.build_datasets(args, Cell(1234, fold))
        torch.manual_seed(1234)
        values.append(probe(model.build_model(args, len(datasets.train.labels)).eval(), datasets))
    return values


def main() -> None:
    """Probe the shipped backbone, or that of -pretrained, and the random one."""
    guard_output()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=sorted(path.parent.name for path in ROOT.glob("*/main.py")))
    args, flags = parser.parse_known_args()
    backbone = args.experiment.split("_")[0]
    pretrained = [] if "-pretrained" in flags else ["-pretrained", SHIPPED[backbone]]
    for name, given in (("pretrained", pretrained), ("random", RANDOM[backbone])):
        values = 100 * np.array(values_of(args.experiment, [*flags, *given]))
        each = " ".join(f"{value:.1f}" for value in values) if len(values) > 1 else ""
        print(f"{args.experiment}  {name:<10}  {values.mean():5.2f} %  {each}", flush=True)


if __name__ == "__main__":
    main()
