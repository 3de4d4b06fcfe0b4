"""Processes that train or evaluate together; with a single process every helper does nothing."""
from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utils.errors import in_a_line
from utils.sync_bn import convert

T = TypeVar("T")
DEFAULT_TIMEOUT = 10.0          # minutes after which a silent process counts as lost

REPORT_SECONDS = 3.0            # that rank 0 has to print an error first
STOP_SECONDS = 30.0             # in which torchrun ends the processes beside one that failed

# a gloo group of all processes, for CPU tensors and Python objects
_control_group: Any = None


def expected_world_size() -> int:
    """Returns the number of processes that torchrun started, before they have joined a group."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local_rank() -> int:
    """Returns the number of this process among those of its host, from 0.

    Launchers other than torchrun set RANK but perhaps not LOCAL_RANK. Slurm's srun numbers the
    processes itself; otherwise every host is taken to have a process for each of its GPUs.
    """
    for name in ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"):
        if os.environ.get(name):
            return int(os.environ[name])
    return int(os.environ.get("RANK", "0")) % max(1, torch.cuda.device_count())


def start(timeout: float = DEFAULT_TIMEOUT) -> None:
    """Joins the process group that torchrun describes, and selects the GPU of the local rank.

    Args:
        timeout: minutes that a collective operation waits for a silent process before it fails.

    Raises:
        OSError: the processes cannot meet: the port is taken, or a process is missing. Or NCCL,
            which connects GPUs, cannot start.
        ValueError: this host has more processes than GPUs.
    """
    global _control_group
    if expected_world_size() == 1 or dist.is_initialized():
        return
    uses_gpus = torch.cuda.is_available()
    if uses_gpus:
        _select_gpu()
    wait = timedelta(minutes=timeout)
    try:
        store, rank, world_size = next(dist.rendezvous("env://", timeout=wait))
        store.set_timeout(wait)
        if os.environ.get("LOCAL_WORLD_SIZE") == str(world_size):
            # All processes are on one host, so all count the same restarts. Workers that torchrun
            # restarts find the store of the attempt before, with the addresses of dead processes.
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            store = dist.PrefixStore(f"attempt_{attempt}", store)
        dist.init_process_group("nccl" if uses_gpus else "gloo", store=store, rank=rank,
                                world_size=world_size, timeout=wait)
        _control_group = dist.new_group(backend="gloo", timeout=wait)
    except (dist.DistError, RuntimeError) as error:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        if "EADDRINUSE" in str(error) or "in use" in str(error):
            advice = ("another program listens there: choose another port (MASTER_PORT, or "
                      "RDZV_ENDPOINT=HOST:PORT)")
        else:
            advice = "is every host started, and does its firewall let the others in?"
        raise OSError(f"{expected_world_size()} processes cannot meet at {address}: {advice} "
                      f"({str(error).splitlines()[0]})") from error
    if uses_gpus:
        _try_nccl()


def _select_gpu() -> None:
    """Selects the GPU of the local rank, with which NCCL needs to be available.

    Raises:
        OSError: torch is built without NCCL.
        ValueError: this host has more processes than GPUs.
    """
    number, count = local_rank(), torch.cuda.device_count()
    if number >= count:
        raise ValueError(f"process {number} of this host, counted from 0, has no GPU: torch "
                         f"finds {count}. Start {count} processes a host (NPROC={count}, or "
                         f"--nproc_per_node {count}), or train on the CPU with an empty "
                         "CUDA_VISIBLE_DEVICES")
    if not dist.is_nccl_available():
        raise OSError(f"this torch ({torch.__version__}) is built without NCCL, by which processes "
                      "on GPUs communicate: install torch's build for Linux, or start one process")
    torch.cuda.set_device(number)


def _try_nccl() -> None:
    """Adds one number of each process: NCCL starts at its first operation.

    Raises:
        OSError: NCCL cannot start.
    """
    try:
        all_reduce_sum_(torch.ones(1, device="cuda"))
        torch.cuda.synchronize()
    except (dist.DistError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise OSError(f"NCCL, by which the GPUs communicate, cannot start on rank {rank()} "
                      f"({reason}): see why with NCCL_DEBUG=INFO, then try "
                      "NCCL_SOCKET_IFNAME=INTERFACE (the network of the hosts), "
                      "NCCL_P2P_DISABLE=1 (no direct copies between GPUs), or --shm-size 8g for "
                      "a container") from error


def may_report(is_signal: bool = False) -> bool:
    """Returns whether this process prints an error that all may have: one of each host does.

    The other processes wait for rank 0 to print it. Under torchrun, whichever comes first claims
    it, and the rest wait until torchrun ends them, so that it does not list them as failed too.

    Args:
        is_signal: the message is about a signal; rank 0 prints it, and no process waits.
    """
    if expected_world_size() == 1:
        return True
    is_first = os.environ["RANK"] == "0"
    if is_signal:
        return is_first
    claim = _claim_file()
    if not is_first:
        deadline = time.monotonic() + REPORT_SECONDS
        while time.monotonic() < deadline and not (claim and claim.exists()):
            time.sleep(0.05)
    try:
        if claim:
            claim.touch(exist_ok=False)
    except FileExistsError:
        time.sleep(STOP_SECONDS)
        return False
    return True


def _claim_file() -> Path | None:
    """Returns a file beside the folders in which torchrun expects the errors of this host's
    processes, anew at each restart; None without torchrun.
    """
    error_file = Path(os.environ.get("TORCHELASTIC_ERROR_FILE", ""))
    folder = error_file.parent.parent
    return folder / "reported" if error_file.name and folder.is_dir() else None


def stop() -> None:
    """Leaves the process group."""
    global _control_group
    if dist.is_initialized():
        dist.destroy_process_group()
    _control_group = None


def is_lost_peer(error: BaseException) -> bool:
    """Returns whether a collective operation failed because another process ended or is silent."""
    is_gloo_error = isinstance(error, RuntimeError) and "gloo" in str(error)
    return isinstance(error, dist.DistError) or is_gloo_error


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Returns whether this is rank 0, the process that prints and writes."""
    return rank() == 0


def shard(count: int) -> range:
    """Returns this process's indices of `count` images: every world_size-th one from its rank.

    The shards of all processes are disjoint and together cover all images.
    """
    return range(rank(), count, world_size())


def all_reduce_sum_(tensor: Tensor) -> Tensor:
    """Sums a tensor on this process's device over all processes, in place, and returns it."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def max_async(numbers: Tensor) -> Callable[[], Tensor]:
    """Starts an all-reduce that takes the maximum of a CPU tensor over all processes, in place.

    Returns:
        A function that waits for the result and returns it.
    """
    if not dist.is_initialized():
        return lambda: numbers
    work = dist.all_reduce(numbers, dist.ReduceOp.MAX, group=_control_group, async_op=True)

    def wait() -> Tensor:
        work.wait()
        return numbers

    return wait


def barrier() -> None:
    """Waits until all processes have called this function."""
    if dist.is_initialized():
        dist.barrier(group=_control_group)


def from_main(value: T) -> T:
    """Returns on every process the value that rank 0 passed."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, group=_control_group)
    return box[0]


def gather(value: T) -> list[T]:
    """Returns on every process the values of all processes, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_control_group)
    return values


def copy_buffers_from_main(net: nn.Module) -> None:
    """Copies rank 0's buffers to all: without SyncBN each rank has its own batch statistics."""
    if dist.is_initialized():
        for buffer in net.buffers():
            dist.broadcast(buffer, 0)


def check_same(flags: dict[str, Any]) -> None:
    """Compares the flags that the processes were started with.

    Raises:
        ValueError: they differ. The message names the flags, the values and the ranks.
    """
    by_rank = gather(flags)
    main = by_rank[0]
    differences = [
        f"--{name} is {other[name]} on rank {number} and {main[name]} on rank 0"
        for number, other in enumerate(by_rank) for name in main if other[name] != main[name]]
    if differences:
        raise ValueError("the processes were started with different flags: "
                         f"{'; '.join(differences)}. Give all of them the same.")


def wrap(net: nn.Module, device: torch.device, *, syncbn: bool = True, apex: bool = False,
         accumulate: int = 1) -> nn.Module:
    """Returns the network in DDP, which averages gradients over the processes.

    Args:
        syncbn: synchronizes batch norms, on CPUs as on GPUs; replaces modules of `net` in place.
        accumulate: backward passes of a step. The graph is declared static only for 1: with more,
            torch 2.6 loses the gradients of the first pass without synchronization.

    Raises:
        ImportError: `apex` is true and NVIDIA Apex cannot be imported.
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
        net, device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True, static_graph=accumulate == 1)


def without_sync(model: nn.Module) -> AbstractContextManager[object]:
    """Returns the context of passes whose gradients stay on this rank, to be averaged later."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    is_apex = hasattr(model, "disable_allreduce")
    return _ApexWithoutSync(model) if is_apex else nullcontext()


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
    # that of another torch may raise an error of any type
    except Exception as error:
        raise ImportError(
            f"--apex needs NVIDIA Apex, which cannot be imported ({in_a_line(error)}): leave "
            "--apex out for torch's own DDP and SyncBN, which do the same, or build it from "
            "https://github.com/NVIDIA/apex") from error
