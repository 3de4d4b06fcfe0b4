from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import network
from network.checkpoints.weights import published_state_dict

CLASSES = ("road", "car", "sky")
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def spec(**changes: Any) -> SimpleNamespace:
    values = {"name": "streets", "names": CLASSES, "mean": None, "std": None}
    return SimpleNamespace(**{**values, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    net = network.build("sfnet_dfnetv1", 3, deep_supervision=True)
    torch.save({"arch": "sfnet_dfnetv1", "classes": list(CLASSES), "dataset": "streets",
                "mean": MEAN, "std": STD, "state_dict": published_state_dict(net)},
               tmp_path / "last.pth")
    return tmp_path / "last.pth"


@pytest.mark.parametrize("name", ["last.pth", ""])
def test_a_teacher_is_frozen_and_has_its_own_normalization(path: Path, name: str) -> None:
    """From a file, or from the folder of a run."""
    net = network.load_teacher(str(path.parent / name), spec(mean=(0.5,) * 3, std=(0.5,) * 3))
    assert net is not None and not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert net.normalization == (MEAN, STD)


def test_without_a_path_there_is_no_teacher() -> None:
    assert network.load_teacher(None, spec()) is None


@pytest.mark.parametrize("names", [("road", "car"), ("road", "car", "tree")])
def test_a_teacher_of_other_classes_is_refused(path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"teacher=.*was trained on the 3 classes of streets"):
        network.load_teacher(str(path), spec(names=names))


def test_a_missing_teacher_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r'teacher="absent.pth": no weights at absent.pth'):
        network.load_teacher("absent.pth", spec())


def test_a_file_that_does_not_tell_its_architecture_is_to_be_converted(tmp_path: Path) -> None:
    """`--arch` is that of the student, so it cannot help."""
    path = tmp_path / "timm.pth"
    torch.save({f"backbone.model.{key}": value for key, value in
                torch.nn.Conv2d(3, 3, 1).state_dict().items()}, path)
    with pytest.raises(ValueError, match=r"tools\.weights convert --arch NAME") as error:
        network.load_teacher(str(path), spec())
    assert "pass arch" not in str(error.value)
