"""Every program feeds a network with the mean and standard deviation of its training."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import network
import train
from eval import load_predictor
from network.checkpoints.files import read
from network.checkpoints.snapshot import Snapshot
from network.checkpoints.weights import published_state_dict
from network.model import Backbone
from network.normalization import IMAGENET, Normalization
from tools.app import __main__ as app
from tools.benchmark import __main__ as benchmark
from tools.benchmark import infer
from tools.demo import __main__ as demo
from tools.export import __main__ as export
from tools.make_streets import __main__ as make_streets
from tools.weights import __main__ as weights
from utils import batches
from utils.evaluation import predictor as prediction
from utils.training import first_steps

ROOT = Path(train.__file__).parent
ARCH = "sfnet_dfnetv1"
OWN = Normalization((0.1, 0.2, 0.3), (0.7, 0.8, 0.9))

Uses = list[tuple[tuple[float, ...], tuple[float, ...]]]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a network that was trained with `OWN`."""
    path = tmp_path_factory.mktemp("run") / "last.pth"
    torch.manual_seed(0)
    state = published_state_dict(network.build(ARCH, 19))
    torch.save({"arch": ARCH, "dataset": "streets", "state_dict": state, **OWN._asdict()}, path)
    return path


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> Uses:
    """The mean and standard deviation of each call that normalizes or denormalizes images."""
    recorded: Uses = []

    def record(module: Any, name: str) -> None:
        function = getattr(module, name)

        def recording(images: Tensor, mean: Any, std: Any, *args: Any, **options: Any) -> Tensor:
            recorded.append((tuple(mean), tuple(std)))
            return function(images, mean, std, *args, **options)

        monkeypatch.setattr(module, name, recording)

    record(batches, "normalize")
    record(prediction, "normalize")
    record(infer, "normalize")
    record(first_steps, "denormalize")
    return recorded


def picture(path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize("fuse", [False, True])
def test_the_network_of_a_loaded_predictor_sees_images_in_its_own_normalization(
    snapshot: Path, fuse: bool
) -> None:
    model = load_predictor(snapshot, device="cpu", precision="fp32", fuse=fuse)
    assert model.net.normalization == model.predictor.net.normalization == OWN
    seen: list[Tensor] = []
    model.predictor.net.backbone.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].clone())
    )
    image = torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    model.predictor.labels(image)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in OWN)
    assert torch.allclose(seen[0], (image / 255 - mean) / std, atol=1e-5)


def test_a_checkpoint_without_them_is_used_as_before(snapshot: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    state = {key: value for key, value in read(snapshot).items() if key not in ("mean", "std")}
    torch.save(state, path)
    assert load_predictor(path, device="cpu").net.normalization == IMAGENET
    description = json.loads(json.dumps({
        "name": "my", "images": "*.png", "labels": "*.png", "mean": [0.4, 0.4, 0.4],
        "classes": [{"name": str(i), "ids": [i], "rgb": [i, i, i]} for i in range(19)],
    }))
    torch.save({**state, "description": description}, path)
    predictor = load_predictor(path, device="cpu").predictor
    assert (predictor.mean, predictor.std) == ((0.4, 0.4, 0.4), IMAGENET.std)


def test_demo_and_benchmark_use_them(snapshot: Path, tmp_path: Path, uses: Uses) -> None:
    path = picture(tmp_path / "a.png")
    flags = ["--snapshot", str(snapshot), "--input", str(path), "--out", str(tmp_path / "out"),
             "--backend", "torch"]
    assert demo.main(flags) == 0
    assert uses == [OWN]
    uses.clear()
    timing = ["infer", "--size", "64x96", "--rounds", "1", "--warm_up", "1", "--no_memory"]
    assert benchmark.main([*timing, "--snapshot", str(snapshot), "--settings", "fp32"]) == 0
    assert uses
    assert set(uses) == {OWN}


def test_the_app_uses_them(snapshot: Path) -> None:
    args = app.build_parser().parse_args(["--snapshot", str(snapshot)])
    (model,) = app.load(app.Options.from_args(args))
    assert (model.predictor.mean, model.predictor.std) == OWN


def test_an_export_contains_them(snapshot: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    flags = ["--snapshot", str(snapshot), "--format", "pt2", "--out", str(path)]
    assert export.main([*flags, "--size", "64x96", "--input", "rgb", "--output", "logits"]) == 0
    extra = {"metadata.json": ""}
    program = torch.export.load(path, extra_files=extra)
    # each value is JSON itself
    metadata = json.loads(extra["metadata.json"])
    assert tuple(tuple(json.loads(metadata[key])) for key in ("mean", "std")) == OWN
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    model = load_predictor(snapshot, device="cpu", precision="fp32")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in OWN)
    with torch.no_grad():
        expected = model.net((image / 255 - mean) / std)["main"]
        logits = program.module()(image)
    assert torch.allclose(logits, expected, atol=1e-3 * expected.abs().max().item())


def test_a_converted_file_keeps_them(snapshot: Path, tmp_path: Path) -> None:
    for name in ("net.pth", "net.safetensors"):
        path = tmp_path / name
        if path.suffix == ".safetensors":
            pytest.importorskip("safetensors", reason="safetensors is not installed")
        assert weights.main(["convert", "--snapshot", str(snapshot), "--out", str(path)]) == 0
        assert Snapshot(path).build_network().normalization == OWN


def test_a_training_uses_saves_and_resumes_them(
    tmp_path: Path, uses: Uses, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes, backbone = tmp_path / "scenes", tmp_path / "dfnetv1.pth"
    make_streets.main(["--out", str(scenes), "--train", "4", "--val", "1", "--size", "64x128",
                       "--workers", "1"])
    torch.save(network.build(ARCH, 19).backbone.state_dict(), backbone)
    monkeypatch.setattr(Backbone, "normalization", OWN)
    command = ["--arch", ARCH, "--data_root", str(scenes), "--ckpt", str(tmp_path), "--exp", "run",
               "--crop_size", "64", "--bs_mult", "2", "--num_workers", "0", "--precision", "fp32",
               "--max_epoch", "1", "--checkpoint_every", "1", "--keep", "2", "--ema_decay", "0.9",
               "--eval_weights", "both"]
    assert train.main([*command, "--pretrained", str(backbone), "--dump_augmentation_images"]) == 0
    # two steps, both also drawn (normalized and back), and a validation of both weights
    assert len(uses) >= 2 + 2 * 2 + 2
    assert set(uses) == {OWN}
    saved = read(tmp_path / "run/last.pth")
    assert (saved["mean"], saved["std"]) == OWN

    uses.clear()
    monkeypatch.setattr(Backbone, "normalization", IMAGENET)
    (tmp_path / "run/checkpoints/step_2.pth").unlink()
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert set(uses) == {OWN}

    uses.clear()
    fresh = ["fresh" if word == "run" else word for word in command]
    assert train.main([*fresh, "--pretrained", "none"]) == 0
    assert set(uses) == {IMAGENET}


def test_only_what_loads_a_network_reads_the_datasets_values() -> None:
    """Everything else takes them from the network. Pseudo-labels copy a dataset's description."""
    pattern = re.compile(r"spec\.(mean|std)\b")
    readers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("datasets", "loss", "network", "tools", "transforms", "utils", ".")
        for path in (ROOT.glob("*.py") if folder == "." else (ROOT / folder).rglob("*.py"))
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert readers == {"train.py", "eval.py", "network/checkpoints/teacher.py",
                       "tools/pseudo_label/folder.py"}
