from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import network
from eval import load_predictor
from network.checkpoints.snapshot import Snapshot
from tools import calibrate
from tools.weights import __main__ as weights


@pytest.fixture(scope="module")
def noisy_root(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CamVid's val with the network's own classes as labels, of which a third are replaced."""
    folder, rng = tmp_path_factory.mktemp("noisy"), np.random.default_rng(0)
    predictor = load_predictor(snapshot, device="cpu", precision="fp32").predictor
    for name in ("val", "valannot"):
        (folder / name).mkdir()
    for i in range(3):
        image = cv2.resize(rng.integers(0, 256, (5, 9, 3), np.uint8), (96, 64))
        batch = torch.from_numpy(image).permute(2, 0, 1)[None]
        labels = predictor.labels(batch)[0].numpy()
        is_noise = rng.random(labels.shape) < 1 / 3
        labels[is_noise] = rng.integers(0, 12, is_noise.sum())
        cv2.imwrite(str(folder / f"val/{i}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / f"valannot/{i}.png"), labels)
    return folder


def run(snapshot: Path, root: Path, *flags: str) -> int:
    return calibrate.main(["--snapshot", str(snapshot), "--data_root", str(root), "--num_workers",
                           "0", "--precision", "fp32", "--pixels", "4000", *flags])


def test_a_copy_of_the_checkpoint_holds_the_temperature(
        snapshot: Path, noisy_root: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "last.pth"
    shutil.copy(snapshot, path)
    assert run(path, noisy_root) == 0
    out = capsys.readouterr().out
    assert "fitted on CamVid" in out
    calibrated = tmp_path / "last_calibrated.pth"
    value = Snapshot(calibrated).temperature
    # without training, all classes are almost equally probable, although two thirds are right
    assert value < 0.5
    assert Snapshot(path).temperature == 1.0
    plain, cool = (load_predictor(file, device="cpu", precision="fp32").predictor
                   for file in (path, calibrated))
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    assert torch.equal(plain.labels(images), cool.labels(images))
    sure = [one.confidence(images, ("probability",)).maps["probability"] for one in (plain, cool)]
    assert sure[1].mean() > sure[0].mean() + 0.1
    # the same again: the earlier temperature is replaced, not refined
    assert run(calibrated, noisy_root, "--out", str(tmp_path / "again.safetensors")) == 0
    assert Snapshot(tmp_path / "again.safetensors").temperature == pytest.approx(value, rel=1e-3)
    assert run(path, noisy_root) == 2
    assert "last_calibrated.pth exists" in capsys.readouterr().err


def test_a_model_folder_keeps_its_weights(snapshot: Path, noisy_root: Path,
                                          tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert weights.main(["pack", "--snapshot", str(snapshot), "--out", str(folder)]) == 0
    before = (folder / "model.safetensors").read_bytes()
    assert run(folder, noisy_root) == 0
    assert (folder / "model.safetensors").read_bytes() == before
    value = network.ModelConfig.read(folder).temperature
    assert value is not None and value < 0.5
    assert load_predictor(folder).predictor.temperature == value


@pytest.mark.parametrize(("train_split", "warned"), [("trainval", True), ("val", True),
                                                     ("train", False), (None, False)])
def test_a_split_that_was_trained_on_is_told(snapshot: Path, caplog: pytest.LogCaptureFixture,
                                             train_split: str | None, warned: bool) -> None:
    model = load_predictor(snapshot, device="cpu", precision="fp32")
    model.trained.payload["args"] = {"train_split": train_split}
    with caplog.at_level("WARNING", logger="calibrate"):
        calibrate.warn_of_trained_images(model, "val")
    assert ("was trained on" in caplog.text) == warned


def test_a_split_without_labels_is_refused(snapshot: Path, noisy_root: Path, tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "new.pth")]
    assert run(snapshot, noisy_root, "--split", "nowhere", *out) == 2
    assert "has no split 'nowhere'" in capsys.readouterr().err
    assert run(snapshot, tmp_path, *out) == 2
    assert not (tmp_path / "new.pth").exists()
