"""Train and evaluate this experiment: python3 main.py -name first -tags mine -path_data DIR."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # the repository: ipet need not be installed

from arguments import get_args

if __name__ == "__main__":
    args = get_args()  # first: -h, a wrong flag and missing data are answered before torch is loaded

    from ipet.launch import run

    from dataset import build_datasets
    from model import build_model
    from trainer import Trainer

    run(args, build_datasets, build_model, Trainer)
