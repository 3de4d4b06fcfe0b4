"""The teacher of a distillation: a trained network whose outputs a student imitates."""
from __future__ import annotations

from typing import Any

from network.checkpoints import WeightsError
from network.checkpoints.snapshot import Snapshot
from network.fuse import fuse_for_inference
from network.model import SceneParser


def load_teacher(path: str | None, spec: Any) -> SceneParser | None:
    """Returns a trained network, frozen and prepared for inference; None without a path.

    Args:
        path: as in `Snapshot`, with its weights "auto".
        spec: the student's dataset: its `name`, its classes `names`, which must be those of the
            teacher's training, and its `mean` and `std`, for a file that does not contain them.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file cannot be read or does not say its architecture, or its classes
            differ.
    """
    if path is None:
        return None
    try:
        net = Snapshot(path).network(spec.name, spec.names, mean=spec.mean, std=spec.std)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'teacher="{path}": {error}') from error
    except WeightsError as error:
        raise WeightsError(f'teacher="{path}": {_without_arch(str(error))}') from error
    return fuse_for_inference(net)


def _without_arch(message: str) -> str:
    """Returns a message of `Snapshot` for a file whose architecture cannot be passed as `arch`."""
    reason, is_unnamed, _ = message.partition(": pass arch=NAME")
    if not is_unnamed:
        return message
    return f"{reason}: write it once with tools.weights convert --arch NAME, and give that file"
