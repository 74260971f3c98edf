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

from helpers import ROOT, rows, run_here, tiny, write_lists

PREFIX = f"ipet{os.getpid() % 10_000}"
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


def launch(hosts, host, *flags):
    """torchrun with one process on a host, which is restarted where another one fails."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
    torchrun += ["--rdzv_backend", "c10d", "--rdzv_endpoint", f"{ADDRESSES['a']}:29411", "--rdzv_id", "t"]
    torchrun += ["--local_addr", ADDRESSES[host], "--max_restarts", "3", "--monitor_interval", "0.5"]
    kept = {
        key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    return subprocess.Popen(
        ["ip", "netns", "exec", hosts[host], *torchrun, "main.py", *map(str, flags)],
        cwd=ROOT / "w2v_speechcommands",
        env={**kept, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process):
    """Kill what a host still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


def wait_for(condition, process, seconds=120):
    stop = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > stop:
            pytest.fail(f"exit status {process.poll()}: {end(process)[-3_000:]}")
        time.sleep(0.05)


def test_a_run_on_two_hosts_outlives_a_cut_cable(hosts, tmp_path):
    """One host is cut off and comes back; both go on from the last checkpoint, with one process's numbers."""
    lists = write_lists(tmp_path / "lists", train=40, valid=5, test=7)
    flags = tiny(lists, tmp_path, "-frame_length", 40, "-epoch", 2, "-batch_size", 2, "-lr", "1e-2")
    flags += ["-embedding_prompt_num", 3, "-frozen_dropout", "False", "-adapter_dropout", 0]
    whole = run_here("w2v_speechcommands", *flags, "-name", "whole") / "seed_1234"
    flags += ["-checkpoint_every", 1, "-timeout", 0.15]
    folder = tmp_path / "IPET/t/a/seed_1234"
    a, b = launch(hosts, "a", *flags), launch(hosts, "b", *flags)
    try:
        wait_for((folder / "training_state_before.pt").is_file, a)
        ip("-n", hosts["b"], "link", "set", "eth0", "down")
        end(b)  # the machine is gone
        done = len(rows(folder, "step"))
        assert done < 40
        time.sleep(12)  # as long as the timeout: the first host has given it up
        assert a.poll() is None
        ip("-n", hosts["b"], "link", "set", "eth0", "up")
        b = launch(hosts, "b", *flags)
        wait_for((folder / "result.json").is_file, a)
        assert a.wait(60) == 0
    finally:
        said = end(a), end(b)
    assert "Traceback (most recent call last)" not in said[1]
    assert len(rows(folder, "step")) == 40 and len(rows(folder, "epoch")) == 2
    losses = [[row["loss"] for row in rows(path, "step")] for path in (folder, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    results = [json.loads((path / "result.json").read_text()) for path in (folder, whole)]
    assert results[0]["test_at_last_epoch"] == pytest.approx(results[1]["test_at_last_epoch"], rel=1e-3)
    assert torch.isfinite(torch.tensor(losses[0])).all()
