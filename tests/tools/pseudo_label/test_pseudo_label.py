"""Pseudo-labels of a tiny CamVid: what they equal, and how runs are shared and resumed."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import datasets
from eval import load_predictor
from tools.check_dataset import __main__ as check_dataset
from tools.pseudo_label import __main__ as pseudo_label
from utils.files import ROOT
from utils.training.signals import Interrupted

Run = Callable[..., int]


@pytest.fixture(scope="module")
def snapshot(two_snapshots: tuple[Path, Path],
             tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights whose probabilities, all near 0.1, a temperature spreads."""
    path = tmp_path_factory.mktemp("sharp") / "last.pth"
    content = torch.load(two_snapshots[0], weights_only=True)
    torch.save({**content, "temperature": 0.01}, path)
    return path


@pytest.fixture
def run(snapshot: Path, camvid_root: Path) -> Run:
    def start(out: Path, *flags: object) -> int:
        return pseudo_label.main([
            "--snapshot", str(snapshot), "--data_root", str(camvid_root), "--split", "train",
            "--num_workers", "0", "--precision", "fp32", "--out", str(out), *map(str, flags)])
    return start


@pytest.fixture(scope="module")
def predicted(snapshot: Path, camvid_root: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The labels and the probability of each image, by the predictor alone."""
    predictor = load_predictor(snapshot, device="cpu", precision="fp32").predictor
    images = [datasets.read_image(camvid_root / f"train/{i}.png") for i in range(6)]
    return [(labels, maps["probability"]) for labels, maps in
            (predictor.image_confidence(image, ("probability",)) for image in images)]


def labels_of(out: Path) -> list[np.ndarray]:
    return [cv2.imread(str(out / f"labels/train/{i}.png"), cv2.IMREAD_UNCHANGED)
            for i in range(6)]


def files_of(out: Path) -> dict[str, bytes]:
    """The files of a finished folder but run.json, whose settings name shards."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*"))
            if path.is_file() and path.name not in ("run.json", "per_image.npz")}


def test_threshold_0_equals_the_prediction(run: Run, tmp_path: Path, predicted: Any) -> None:
    assert run(tmp_path / "out", "--threshold", 0) == 0
    for label, (labels, _) in zip(labels_of(tmp_path / "out"), predicted, strict=True):
        assert np.array_equal(label, labels)


def test_pixels_below_the_threshold_are_ignored(run: Run, tmp_path: Path,
                                                predicted: Any) -> None:
    threshold = float(np.median(np.stack([probability for _, probability in predicted])))
    run(tmp_path / "out", "--threshold", threshold, "--bs_mult_val", 4)
    for label, (labels, probability) in zip(labels_of(tmp_path / "out"), predicted, strict=True):
        # several images at a time round differently
        sure = np.abs(probability - threshold) > 1e-5
        expected = np.where(probability >= threshold, labels, 255)
        assert np.array_equal(label[sure], expected[sure]) and 0.2 < (label == 255).mean() < 0.8


def test_keep_share_1_keeps_all(run: Run, tmp_path: Path, predicted: Any) -> None:
    assert run(tmp_path / "out", "--keep_share", 1) == 0
    for label, (labels, _) in zip(labels_of(tmp_path / "out"), predicted, strict=True):
        assert np.array_equal(label, labels)
    assert not (tmp_path / "out/unfinished").exists()


def test_keep_share_keeps_the_surest_share_of_each_class(run: Run, tmp_path: Path,
                                                         predicted: Any) -> None:
    assert run(tmp_path / "out", "--keep_share", 0.4) == 0
    kept = np.stack(labels_of(tmp_path / "out"))
    labels, probability = (np.stack(maps) for maps in zip(*predicted, strict=True))
    summary = json.loads((tmp_path / "out/pseudo_labels.json").read_text())
    assert sum(row["pixels"] for row in summary["classes"].values()) == labels.size
    for train_id, row in enumerate(summary["classes"].values()):
        of_class = labels == train_id
        is_kept = kept[of_class] == train_id
        assert row["pixels"] == of_class.sum() and row["kept"] == is_kept.sum()
        if of_class.sum() < 500:
            continue
        # a code is 0.8 % of 1 - p wide
        assert 0.4 <= is_kept.mean() <= 0.42
        assert probability[of_class][is_kept].min() >= probability[of_class][~is_kept].max() - 1e-5
        assert row["threshold"] == pytest.approx(probability[of_class][is_kept].min(), abs=0.01)


@pytest.mark.parametrize("chosen", [("--threshold", 0.3), ("--keep_share", 0.5)])
def test_shards_and_resumed_runs_give_the_files_of_one_run(
        run: Run, tmp_path: Path, chosen: tuple[str, float], monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    one, shards, resumed = tmp_path / "one", tmp_path / "shards", tmp_path / "resumed"
    status = run(one, *chosen)
    assert run(shards, *chosen, "--split_count", 2, "--split_index", 1) == 0
    assert "3 of 6 images are done" in capsys.readouterr().out
    assert not (shards / "dataset.yaml").exists()
    assert run(shards, *chosen, "--split_count", 2) == status

    stops = iter([False, False, True])

    def stop(interrupts: Any) -> None:
        if next(stops):
            raise Interrupted(15)

    with monkeypatch.context() as patch:
        patch.setattr(pseudo_label.Interrupts, "check", stop)
        assert run(resumed, *chosen) == 143
    assert not (resumed / "dataset.yaml").exists()
    assert run(resumed, *chosen, "--resume") == status
    assert "3 images have results, 3 are left to do" in capsys.readouterr().out
    assert files_of(shards) == files_of(resumed) == files_of(one)
    # nothing is left to do
    before = files_of(one)
    assert run(one, *chosen, "--resume") == status
    assert files_of(one) == before


def test_a_run_that_ends_while_it_writes_the_labels_goes_on(
        run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, cut = tmp_path / "one", tmp_path / "cut"
    assert run(one, "--keep_share", 0.5) == 0

    def fail(*args: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(pseudo_label, "draw_sheet", fail)
        assert run(cut, "--keep_share", 0.5) == 2
    assert run(cut, "--keep_share", 0.5, "--resume") == 0
    assert files_of(cut) == files_of(one)


def test_two_processes_give_the_files_of_one(run: Run, snapshot: Path, camvid_root: Path,
                                             tmp_path: Path) -> None:
    flags = ["--threshold", "0.3"]
    status = run(tmp_path / "one", *flags)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         "-m", "tools.pseudo_label", "--snapshot", str(snapshot), "--data_root", str(camvid_root),
         "--split", "train", "--num_workers", "0", "--precision", "fp32", "--out",
         str(tmp_path / "two"), *flags],
        cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode == 0) == (status == 0), done.stderr
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_the_dataset_has_the_images_where_they_are_and_passes_the_check(
        run: Run, camvid_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(out, "--keep_share", 0.5) == 0
    assert [path.resolve() for path in sorted((out / "images/train").iterdir())] == [
        (camvid_root / f"train/{i}.png").resolve() for i in range(6)]
    spec, camvid = datasets.spec(str(out / "dataset.yaml")), datasets.spec("camvid")
    assert [(info.name, info.rgb, info.category) for info in spec.classes] == [
        (info.name, info.rgb, info.category) for info in camvid.classes]
    assert (spec.crop_size, spec.mean) == (camvid.crop_size, camvid.mean)
    sample = datasets.build(spec, None, "train")[1]
    assert np.array_equal(sample["label"].numpy(), labels_of(out)[1])
    assert check_dataset.main(["--dataset", str(out / "dataset.yaml"), "--num_workers", "0"]) == 0
    assert cv2.imread(str(out / "sheet.png")) is not None


def test_an_emptied_class_is_named_with_its_share(
        run: Run, tmp_path: Path, predicted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    labels, probability = (np.stack(maps) for maps in zip(*predicted, strict=True))
    surest = {train_id: probability[labels == train_id].max() for train_id in np.unique(labels)}
    low = min(surest, key=surest.__getitem__)
    threshold = (surest[low] + sorted(surest.values())[1]) / 2
    assert run(tmp_path / "out", "--threshold", threshold) == 1
    said = capsys.readouterr()
    share = 100 * (labels == low).mean()
    name = datasets.spec("camvid").names[low]
    assert f"leaves no pixel of {name} ({share:.2f} % of the predicted pixels" in (
        said.out + said.err)


def test_images_without_labels_are_labeled(run: Run, snapshot: Path, camvid_root: Path,
                                           tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for i in range(2):
        shutil.copy(camvid_root / f"train/{i}.png", tmp_path / f"pictures/{i}.png")
    rows = "\n".join(f"  - {{name: {info.name}, rgb: {list(info.rgb)}}}"
                     for info in datasets.spec("camvid").classes)
    (tmp_path / "pictures.yaml").write_text(
        f'root: pictures\nimages: "*{{suffix}}"\nlabels: "*.png"\nsplits: {{all: .}}\n'
        f"unlabeled: [all]\nclasses:\n{rows}\n")
    assert pseudo_label.main([
        "--snapshot", str(snapshot), "--dataset", str(tmp_path / "pictures.yaml"), "--split",
        "all", "--num_workers", "0", "--keep_share", "0.5", "--out", str(tmp_path / "out")]) == 0
    assert len(datasets.build(str(tmp_path / "out/dataset.yaml"), None, "train")) == 2


@pytest.mark.parametrize(("flags", "message"), [
    (["--keep_share", "0"], "--keep_share 0 keeps no pixel"),
    (["--threshold", "2"], "'2' is not a number from 0 to 1"),
    (["--split_count", "2", "--split_index", "2"], "--split_index 2 is out of range"),
    (["--dataset", "streets"], "trained on the 11 classes of camvid"),
    (["--split", "tset"], "has no split 'tset', did you mean 'test'"),
])
def test_invalid_flags_are_refused(run: Run, tmp_path: Path, flags: list[str], message: str,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = run(tmp_path / "out", *flags)
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(run: Run, camvid_root: Path, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert run(camvid_root / "val") == 2
    assert "exists and holds no pseudo-labels: name a new folder" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file") == 2
    assert run(tmp_path / "out", "--threshold", 0) == 0
    assert run(tmp_path / "out", "--threshold", 0.5, "--resume") == 2
    message = capsys.readouterr().err
    assert "another set of pseudo-labels (threshold: 0.0, not 0.5): choose another --out" in message
    assert run(tmp_path / "out", "--threshold", 0, "--split_count", 2) == 2
    assert "finished set of pseudo-labels, which one shard cannot" in capsys.readouterr().err


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    spec = datasets.spec("camvid")
    samples = [datasets.Sample("a", tmp_path / folder / "a.png", None, spec) for folder in "xy"]
    with pytest.raises(ValueError, match=r"x/a\.png and .*y/a\.png are both called a"):
        pseudo_label.check_names(samples)


def test_a_damaged_unfinished_file_is_named(run: Run, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(out, "--keep_share", 0.5, "--split_count", 2) == 0
    path = out / "unfinished/codes/0.png"
    path.write_bytes(path.read_bytes()[:40])
    assert run(out, "--keep_share", 0.5, "--split_count", 2, "--split_index", 1) == 2
    assert f"{path} is missing or damaged: remove {out}" in capsys.readouterr().err


def test_without_matplotlib_the_picture_is_left_out(
        run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(tmp_path / "out", "--threshold", 0) == 0
    said = capsys.readouterr()
    assert "confidence.png" in said.out + said.err and "pip install '.[report]'" in (
        said.out + said.err)
    assert not (tmp_path / "out/confidence.png").exists()


def test_the_temperature_of_the_file_counts(
        snapshot: Path, two_snapshots: tuple[Path, Path], camvid_root: Path,
        tmp_path: Path) -> None:
    kept = []
    for name, path in (("plain", two_snapshots[0]), ("sharp", snapshot)):
        pseudo_label.main(["--snapshot", str(path), "--data_root", str(camvid_root), "--split",
                           "train", "--num_workers", "0", "--max_images", "1", "--precision",
                           "fp32", "--threshold", "0.15", "--out", str(tmp_path / name)])
        kept.append(json.loads((tmp_path / name / "pseudo_labels.json").read_text())["kept"])
    assert kept[1] > kept[0]
