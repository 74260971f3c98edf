"""Two hosts, each a network namespace with an address of its own: torchrun's rendezvous, and a cut cable."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from helpers import ROOT, long, rows, run_here, tiny, write_lists

PREFIX = f"ipet{os.getpid() % 10_000}"
HOST = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth0", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}


def ip(*words, check=True):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check)


def possible():
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    made = ip("netns", "add", f"{PREFIX}t", check=False).returncode == 0
    ip("netns", "del", f"{PREFIX}t", check=False)
    return made


pytestmark = pytest.mark.skipif(not possible(), reason="network namespaces need Linux, iproute2 and root")


@pytest.fixture
def hosts():
    """Two namespaces, a cable between them."""
    names = {host: f"{PREFIX}{host}" for host in ADDRESSES}
    try:
        for name in names.values():
            ip("netns", "add", name)
        ip("link", "add", "eth0", "netns", names["a"], "type", "veth", "peer", "eth0", "netns", names["b"])
        for host, name in names.items():
            ip("-n", name, "addr", "add", f"{ADDRESSES[host]}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names.values():
            ip("netns", "del", name, check=False)


def launch(hosts, host, log, *flags):
    """torchrun with one process on a host, restarted where another one fails; ``log`` gets its output."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
    torchrun += ["--rdzv_backend", "c10d", "--rdzv_endpoint", f"{ADDRESSES['a']}:29411", "--rdzv_id", "t"]
    # Elsewhere torchrun sees by its name that a host is the endpoint's.
    torchrun += ["--rdzv_conf", f"is_host={host == 'a'}"]
    torchrun += ["--local_addr", ADDRESSES[host], "--max_restarts", "3", "--monitor_interval", "0.5"]
    kept = {
        key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    return subprocess.Popen(
        ["ip", "netns", "exec", hosts[host], *torchrun, "main.py", *map(str, flags)],
        cwd=ROOT / "w2v_speechcommands",
        # Shared, torchrun's store tells a host that joins anew nothing, and it never gets in (torch 2.11).
        env={**kept, **HOST},
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def end(process):
    """Kill what a host still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition, process, log, seconds=120):
    stop = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > stop:
            pytest.fail(f"exit status {process.poll()}: {log.read_text()[-3_000:]}")
        time.sleep(0.05)


@long
def test_a_run_on_two_hosts_outlives_a_cut_cable(hosts, tmp_path, record_property):
    """One host is cut off and comes back; both go on from the last checkpoint, with one process's numbers."""
    lists = write_lists(tmp_path / "lists", train=40, valid=5, test=7)
    flags = tiny(lists, tmp_path, "-frame_length", 40, "-epoch", 2, "-batch_size", 2, "-lr", "1e-2")
    flags += ["-embedding_prompt_num", 3, "-frozen_dropout", "False", "-adapter_dropout", 0]
    whole = run_here("w2v_speechcommands", *flags, "-name", "whole") / "seed_1234"
    flags += ["-checkpoint_every", 1, "-timeout", 0.15]
    folder = tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234"
    logs = [tmp_path / f"{name}.log" for name in ("a", "b", "b_again")]
    a, b = launch(hosts, "a", logs[0], *flags), launch(hosts, "b", logs[1], *flags)
    try:
        wait_for((folder / "training_state_before.pt").is_file, a, logs[0])
        ip("-n", hosts["b"], "link", "set", "eth0", "down")
        end(b)  # the machine is gone
        assert len(rows(folder, "step")) < 40
        time.sleep(12)  # longer than the timeout: the first host has given it up
        assert a.poll() is None, logs[0].read_text()[-3_000:]
        ip("-n", hosts["b"], "link", "set", "eth0", "up")
        b = launch(hosts, "b", logs[2], *flags)
        wait_for((folder / "result.json").is_file, a, logs[0])
        assert a.wait(60) == 0, logs[0].read_text()[-3_000:]
    finally:
        end(a)
        end(b)
    assert len(rows(folder, "step")) == 40 and len(rows(folder, "epoch")) == 2
    losses = [[row["loss"] for row in rows(path, "step")] for path in (folder, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    results = [json.loads((path / "result.json").read_text()) for path in (folder, whole)]
    assert results[0]["test_at_last_epoch"] == pytest.approx(results[1]["test_at_last_epoch"], rel=1e-3)
    assert torch.isfinite(torch.tensor(losses[0])).all()
    record_property("hosts lost and back", 1)
