"""A batch of eight clips for eight tasks, against eight clips of one task.

Base size, random weights, evaluation mode, fp32. The ways run in turn (A B C A B C ...); the ratio in every
round is taken, and its median shown. Beside them one task's plain model. Memory: the tensors that are held.
"""

import argparse

import torch

from benchmarks import medians_and_ratio, seconds_in_turn
from benchmarks.ways import SETTINGS, build
from ipet.checkpoint import trainable_state
from ipet.multitask import MultiTask

CLIPS = 8


def size_of(model: torch.nn.Module) -> float:
    """MiB of a model's tensors."""
    return sum(tensor.nbytes for tensor in model.state_dict().values()) / 2**20


@torch.inference_mode()
def compare(setting: str, rounds: int, device: torch.device) -> dict[str, dict]:
    """Seconds of eight tasks, of one task in the same form, of its plain model; memory of two of them."""
    given = SETTINGS[setting]._replace(batch_size=CLIPS)
    _, plain, _, batch = build(given, "ipet", "fp32", device)
    _, model, _, _ = build(given, "ipet", "fp32", device)
    plain, state = plain.eval(), trainable_state(model)
    names = [str(number) for number in range(CLIPS)]
    tasks = MultiTask(model, dict.fromkeys(names, state)).to(device)
    calls = {
        "eight": lambda: tasks(batch.waveform, batch.num_samples, names),
        "one": lambda: tasks(batch.waveform, batch.num_samples, names[:1] * CLIPS),
        "plain": lambda: plain(batch.waveform, batch.num_samples),
    }
    torch.testing.assert_close(torch.cat(calls["eight"]()), calls["plain"](), rtol=1e-4, atol=1e-4)
    seconds = seconds_in_turn(calls, rounds, device)
    rows = {name: medians_and_ratio(seconds, over="eight", under=name) for name in ("one", "plain")}
    return {**rows, "mib": {"eight": size_of(tasks), "plain": size_of(plain)}}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-only", choices=SETTINGS, nargs="+", default=["w2v_speechcommands", "ast_esc50"])
    parser.add_argument("-rounds", type=int, default=5, help="timed rounds")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a setting."""
    print(
        f"{'setting':<28}{'seconds':>9}{'one task':>10}{'plain':>8}   {'MiB, 8 tasks':>17}{'one model':>11}"
    )
    results = {}
    for setting in args.only:
        results[setting] = r = compare(setting, args.rounds, device)
        print(
            f"{setting:<28}{r['one']['eight']:>9.3f}{r['one']['ratio']:>9.2f}x{r['plain']['ratio']:>7.2f}x"
            f"   {r['mib']['eight']:>17.0f}{r['mib']['plain']:>11.0f}",
            flush=True,
        )
    return results
