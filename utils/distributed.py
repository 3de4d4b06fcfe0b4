"""Processes that train or score together; every helper does nothing when this process is alone."""
from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utils.sync_bn import convert

T = TypeVar("T")
DEFAULT_TIMEOUT = 10.0                                              # minutes after which a process counts as lost

_control: Any = None                                         # a gloo group of all processes


def world_size_to_come() -> int:
    """Returns how many processes torchrun started, before they have met."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def start(timeout: float = DEFAULT_TIMEOUT) -> None:
    """Joins the process group that torchrun describes, with this process on the GPU of its local rank.

    Args:
        timeout: minutes that a collective operation waits for a silent process before it fails.

    Raises:
        OSError: the processes do not meet: the port is taken, or one is missing.
    """
    global _control
    if world_size_to_come() == 1 or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    wait = timedelta(minutes=timeout)
    try:
        store, number, processes = next(dist.rendezvous("env://", timeout=wait))
        store.set_timeout(wait)
        if os.environ.get("LOCAL_WORLD_SIZE") == str(processes):            # on one host all count the restarts alike
            # Workers that torchrun starts again meet in the store of before, among the addresses of those that died.
            store = dist.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", store=store, rank=number,
                                world_size=processes, timeout=wait)
        _control = dist.new_group(backend="gloo", timeout=wait)         # what is said between CPUs, beside the steps
    except (dist.DistError, RuntimeError) as error:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        taken = "EADDRINUSE" in str(error) or "in use" in str(error)
        advice = ("another program listens there: choose another port (MASTER_PORT, or RDZV_ENDPOINT=HOST:PORT)"
                  if taken else "is every host started, and does its firewall let the others in?")
        raise OSError(f"{world_size_to_come()} processes cannot meet at {address}: {advice} "
                      f"({str(error).splitlines()[0]})") from error


def stop() -> None:
    """Leaves the process group."""
    global _control
    if dist.is_initialized():
        dist.destroy_process_group()
    _control = None


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error of a collective operation says that another process ended or is silent."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that prints and writes."""
    return rank() == 0


def all_reduce_sum_(tensor: Tensor) -> Tensor:
    """Adds the tensor, which lies on this process's device, up over the processes, in place; returns it."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def largest_later(numbers: Tensor) -> Callable[[], Tensor]:
    """Begins to take the largest of each process's CPU numbers, in place; the result waits for it and returns them."""
    if not dist.is_initialized():
        return lambda: numbers
    work = dist.all_reduce(numbers, dist.ReduceOp.MAX, group=_control, async_op=True)

    def wait() -> Tensor:
        work.wait()
        return numbers

    return wait


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier(group=_control)


def from_main(value: T) -> T:
    """Returns on every process what the main one gave."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, group=_control)
    return box[0]


def gather(value: T) -> list[T]:
    """Returns on every process what all of them gave, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_control)
    return values


def copy_buffers_from_main(net: nn.Module) -> None:
    """Gives every process the main one's buffers: without SyncBN each has batch statistics of its own."""
    if dist.is_initialized():
        for buffer in net.buffers():
            dist.broadcast(buffer, 0)


def check_same(settings: dict[str, Any]) -> None:
    """Compares what each process was started with.

    Raises:
        ValueError: they differ; the message names the flags, the values and the ranks.
    """
    every = gather(settings)
    said = [f"--{name} is {each[name]} on rank {number} and {every[0][name]} on rank 0"
            for number, each in enumerate(every) for name in every[0] if each[name] != every[0][name]]
    if said:
        raise ValueError(f"the processes were started differently: {'; '.join(said)}. Give all of them the same flags.")


def wrap(net: nn.Module, device: torch.device, *, syncbn: bool = True, apex: bool = False,
         accumulate: int = 1) -> nn.Module:
    """Returns the network as the processes train it together, with gradients averaged over them.

    Args:
        syncbn: synchronizes batch normalization, on CPUs as on GPUs; changes the network's modules.
        accumulate: backward passes of a step; the graph is declared static only where there is one, as torch 2.6 misses
            gradients of a first pass without synchronization otherwise.

    Raises:
        ImportError: `apex` is asked for and not installed.
    """
    if apex:
        parallel = _apex_parallel()
        net = parallel.convert_syncbn_model(net) if syncbn else net
        return parallel.DistributedDataParallel(net) if dist.is_initialized() else net
    if not dist.is_initialized():
        return net
    if syncbn:
        net = convert(net, device)
    return nn.parallel.DistributedDataParallel(
        net, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True,
        static_graph=accumulate == 1)


def without_sync(model: nn.Module) -> AbstractContextManager[object]:
    """Returns the context of a backward pass whose gradients stay in this process, to be averaged with later ones."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    return _ApexWithoutSync(model) if hasattr(model, "disable_allreduce") else nullcontext()


class _ApexWithoutSync:
    def __init__(self, model: Any) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.model.disable_allreduce()

    def __exit__(self, *error: object) -> None:
        self.model.enable_allreduce()


def _apex_parallel() -> Any:
    try:
        return import_module("apex.parallel")
    except ImportError as error:
        raise ImportError("--apex needs NVIDIA Apex, which is not installed: leave --apex out for torch's own DDP and "
                          "SyncBN, which do the same, or build it from https://github.com/NVIDIA/apex") from error
