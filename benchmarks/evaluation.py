"""Clips a second in evaluation, against one clip and one segment at a time.

Base size, random weights, fp32, IPET. ``alone`` is a script's loop: the textbook form, prompts in every
layer's input, one segment a call. Both hear the same clips of noise in memory and give the same outputs.
"""

import argparse
import tempfile
from functools import partial

import torch
from torch import Tensor

from benchmarks import medians_and_ratio, seconds_in_turn
from benchmarks.textbook import make_plain
from benchmarks.ways import SETTINGS, build, noise_datasets, trainer_of

SEGMENTS = {"w2v_speechcommands": 1, "w2v_gtzan": 10, "ast_esc50": 1, "ast_fsd50k": 1}
SECONDS = {"w2v_speechcommands": 1, "w2v_gtzan": 30, "ast_esc50": 5, "ast_fsd50k": 10}  # of a clip


@torch.no_grad()
def one_by_one(model: torch.nn.Module, waveforms: list[Tensor]) -> Tensor:
    """[N, S, C]: the outputs of the clips' segments, each heard alone."""
    outputs = []
    for waveform in waveforms:
        segments = model.front_end(waveform[None], torch.tensor([len(waveform)]))
        outputs.append(torch.cat([model.head(model.backbone(segment[None])) for segment in segments]))
    return torch.stack(outputs)


def compare(setting: str, num_clips: int, rounds: int, device: torch.device) -> dict:
    """Clips a second of both ways, and their ratio."""
    given, flags = SETTINGS[setting], ("-nb_seg", str(SEGMENTS[setting]), "-eval_batch_size", "32")
    built, other = (build(given, "ipet", "fp32", device, *flags) for _ in range(2))
    datasets = noise_datasets(built.args, num_clips, SECONDS[setting], given.num_classes)
    clips = datasets.evaluation["eval"]
    with tempfile.TemporaryDirectory() as scratch:
        training = trainer_of(built, datasets, scratch, device)
    plain = make_plain(other.model).eval()
    waveforms = [clips[i].waveform.to(device) for i in range(num_clips)]
    calls = {"ours": partial(training.predict, clips), "alone": partial(one_by_one, plain, waveforms)}
    outputs = torch.from_numpy(calls["ours"]()), calls["alone"]().cpu()
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-4)
    measured = medians_and_ratio(seconds_in_turn(calls, rounds, device), over="alone", under="ours")
    return measured | {name: num_clips / measured[name] for name in calls}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-only", choices=SEGMENTS, nargs="+", default=list(SEGMENTS), help="some settings")
    parser.add_argument("-clips", type=int, default=16, help="heard in a round")
    parser.add_argument("-rounds", type=int, default=3, help="timed rounds")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a setting."""
    print(f"{'setting':<24}{'segments':>9}{'clips/s':>9}{'alone':>8}{'ratio':>8}   (min - max)")
    results = {}
    for setting in args.only:
        results[setting] = r = compare(setting, args.clips, args.rounds, device)
        print(
            f"{setting:<24}{SEGMENTS[setting]:>9}{r['ours']:>9.2f}{r['alone']:>8.2f}{r['ratio']:>7.2f}x   "
            f"({r['ratio_min']:.2f} - {r['ratio_max']:.2f})",
            flush=True,
        )
    return results
