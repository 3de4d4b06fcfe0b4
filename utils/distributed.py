"""Processes that train or score together; every helper does nothing when this process is alone."""
from __future__ import annotations

import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def start() -> None:
    """Joins the process group that torchrun describes, with this process on the GPU of its local rank."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def stop() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


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


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def from_main(value: T) -> T:
    """Returns on every process what the main one gave."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def gather(value: T) -> list[T]:
    """Returns on every process what all of them gave, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def wrap(net: nn.Module, device: torch.device) -> nn.Module:
    """Returns the network as DDP trains it: with BN synchronised on GPUs and gradients averaged over the processes."""
    if not dist.is_initialized():
        return net
    if device.type == "cuda":
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    return nn.parallel.DistributedDataParallel(net, device_ids=[device] if device.type == "cuda" else None)
