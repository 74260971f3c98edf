"""Rank, world size, and gathering what the processes computed. All of it works with one process."""

import itertools
import os
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(days=1)
BARRIERS = itertools.count()  # all processes pass the same ones


def rank() -> int:
    """This process's number, from 0, over all machines."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """This process's number, from 0, on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def world_size() -> int:
    """How many processes work on this run, over all machines."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """True in the one process that prints, logs and writes."""
    return rank() == 0


def start(device: torch.device, timeout: timedelta = timedelta(minutes=30)) -> None:
    """Join the other processes: NCCL between GPUs, gloo between CPUs and for Python objects.

    Args:
        timeout: how long a process may keep the others waiting in a step, before they give it up.
    """
    if world_size() == 1:
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timeout)
    dist.barrier()  # from here on a process that fails is missed by one that is connected


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def is_first(event: str) -> bool:
    """True in the process that is the first to ask this of ``event``; never waits for another one.

    Counted in the store that the processes met in, which outlives a broken connection between two
    of them; torch gives no public access to it.
    """
    if not dist.is_initialized():
        return True
    try:
        return dist.distributed_c10d._get_default_store().add(f"ipet/{event}", 1) == 1
    except RuntimeError:  # the process that held the store is gone
        return True


def tell(event: str) -> None:
    """Let the processes that wait for ``event`` go on."""
    if dist.is_initialized():
        with suppress(RuntimeError):  # the process that held the store is gone, and nobody waits
            dist.distributed_c10d._get_default_store().set(f"ipet/{event}", "told")


def wait_for(event: str, seconds: float) -> None:
    """Wait until another process tells of ``event``, or for so long."""
    if dist.is_initialized():
        with suppress(RuntimeError):  # it took too long, or the process that held the store is gone
            dist.distributed_c10d._get_default_store().wait([f"ipet/{event}"], timedelta(seconds=seconds))


def barrier() -> None:
    """Wait for the other processes, however long they work: a first decoding of VoxCeleb takes hours.

    They are counted in the store that they met in; torch gives no public access to it. A process that ends
    meanwhile is noticed by the launcher.
    """
    if dist.is_initialized():
        store = dist.distributed_c10d._get_default_store()
        name = f"ipet/barrier/{next(BARRIERS)}"
        if store.add(f"{name}/came", 1) == world_size():
            store.set(name, "all")
        store.wait([name], PATIENCE)


def from_main(read: Callable):
    """What ``read()`` returns in the main process, in every process: only its disk need hold the run."""
    value = read() if is_main() else None
    if not dist.is_initialized():
        return value
    box = [value]
    barrier()
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def first_of_ranks(value):
    """The ``value`` of the first process that has one, in every process; None where none has."""
    values = [value]
    if dist.is_initialized():
        values = [None] * world_size()
        barrier()
        dist.all_gather_object(values, value)
    return next((v for v in values if v is not None), None)


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of ``value`` over the processes, in each of them."""
    if dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
    return value


def hold_gradients(parallel: nn.Module, hold: bool):
    """A context whose forward and backward pass leaves the gradients to their process, if ``hold``."""
    held = hold and isinstance(parallel, DistributedDataParallel)
    return parallel.no_sync() if held else nullcontext()


class BesideUnused(nn.Module):
    """A model that may leave out layers, and a parameter that it always leaves out.

    torch warns where it looks for parameters without a gradient and finds none, that it need not look: wrong
    of a first step in which no layer happened to be dropped. With this one it finds one in every step.
    """

    def __init__(self, model: nn.Module, device: torch.device):
        super().__init__()
        self.model, self.unused = model, nn.Parameter(torch.zeros(1, device=device))

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the model returns."""
        return self.model(*inputs)


def parallelise(model: nn.Module, device: torch.device, drops_layers: bool) -> nn.Module:
    """DistributedDataParallel over what is trained; the model itself where there is one process.

    Args:
        drops_layers: LayerDrop leaves out a layer with what is trained in it, in each process
            another one, so that gradients may be missing.
    """
    if not dist.is_initialized():
        return model
    if drops_layers:
        model = BesideUnused(model, device)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    buffers = [name for name, _ in model.named_buffers()]
    # Every process built the same frozen weights: neither broadcast nor watched. torch has no public
    # way to say so.
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, frozen + buffers)
    return DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        broadcast_buffers=False,
        find_unused_parameters=drops_layers,
    )


def max_over_ranks(value: int) -> int:
    """The largest ``value`` of the processes, in each of them."""
    values = [value]
    if dist.is_initialized():
        values = [None] * world_size()
        dist.all_gather_object(values, value)
    return max(values)


def gather_by_index(indices: Tensor, values: Tensor, num_items: int) -> np.ndarray:
    """Put together what the processes computed for their shares of a list, each item once.

    Args:
        indices: [n] which items ``values`` belong to; n may differ between processes.
        values: [n, ...] one row an item.
        num_items: N, the length of the whole list.

    Returns:
        [N, ...] rows in list order, in every process.

    Raises:
        RuntimeError: an item is missing or came twice.
    """
    shares = [(indices.cpu().numpy(), values.cpu().numpy())]
    if dist.is_initialized():
        shares = [None] * world_size()
        dist.all_gather_object(shares, (indices.cpu().numpy(), values.cpu().numpy()))
    shares = [share for share in shares if len(share[0])] or shares[:1]  # an empty one knows no row's shape
    index = np.concatenate([share[0] for share in shares])
    rows = np.concatenate([share[1] for share in shares])
    known = index[(index >= 0) & (index < num_items)]
    counts = np.bincount(known, minlength=num_items)
    if len(known) != len(index) or (counts != 1).any():
        raise RuntimeError(
            f"{num_items} clips were to be evaluated once each; counted {int((counts == 0).sum())} missing, "
            f"{int((counts > 1).sum())} repeated, {len(index) - len(known)} unknown"
        )
    gathered = np.empty_like(rows)
    gathered[index] = rows
    return gathered
