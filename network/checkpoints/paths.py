"""Finding the checkpoint that a path, a folder or a shipped network's name stands for."""
from __future__ import annotations

from pathlib import Path

from network.checkpoints.model_folder import model_file

# A file NAME.pth here initializes a backbone; NAME.safetensors is a whole trained network.
PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained_models"
# The checkpoints that stand in the folder of a run, the preferred one first.
CHECKPOINTS = ("best.pth", "last.pth")


def shipped(folder: Path = PRETRAINED) -> dict[str, Path]:
    """Returns name -> file of the trained networks in `pretrained_models/`, sorted by name."""
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def checkpoint_path(path: str | Path) -> Path:
    """Returns the checkpoint file that a path or a name stands for.

    Args:
        path: of a file; or of the folder of a run, which stands for its best checkpoint, else its
            last, else its newest; or a model folder, which stands for its `model.safetensors`; or
            the name of a shipped network (see `shipped`), unless a file or folder of this name
            exists.

    Returns:
        The path of the checkpoint; the path of anything else is returned unchanged.

    Raises:
        WeightsError: a model folder lacks a file, or its config is invalid.
    """
    path = Path(path)
    if not path.exists() and len(path.parts) == 1:
        return shipped().get(path.name, path)
    model = model_file(path)
    if model is not None:
        return model
    for name in CHECKPOINTS:
        if (path / name).is_file():
            return path / name
    steps = {int(file.stem.removeprefix("step_")): file
             for folder in (path, path / "checkpoints") for file in folder.glob("step_*.pth")
             if file.stem.removeprefix("step_").isdecimal()}
    return steps[max(steps)] if steps else path
