from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import datasets
import eval as program
import network
from network.weights import published_state_dict
from utils.checkpoint import sha256

ROOT = Path(program.__file__).parent
SIZES = [(48, 64), (33, 47), (48, 64), (40, 64), (48, 64)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CamVid of five noisy images of several sizes in each split."""
    folder, rng = tmp_path_factory.mktemp("camvid"), np.random.default_rng(0)
    for split in ("val", "test"):
        (folder / split).mkdir()
        (folder / f"{split}annot").mkdir()
        for i, (height, width) in enumerate(SIZES):
            cv2.imwrite(str(folder / split / f"frame{i}.png"), rng.integers(0, 256, (height, width, 3), np.uint8))
            label = rng.integers(0, 12, (height // 4 + 1, width // 4 + 1), np.uint8)       # 11 is void
            label = label.repeat(4, 0).repeat(4, 1)[:height, :width]
            cv2.imwrite(str(folder / f"{split}annot" / f"frame{i}.png"), label)
    return folder


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "last.pth")


def save(path: Path, **changes: Any) -> Path:
    torch.manual_seed(0)
    net = network.build("sfnet_dfnetv1", 11)
    torch.nn.init.normal_(net.head.conv_last[1].weight, std=1.0)               # so that several classes are predicted
    torch.save({"arch": "sfnet_dfnetv1", "dataset": "camvid", "classes": list(datasets.spec("camvid").names),
                "state_dict": published_state_dict(net), "ema": None, **changes}, path)
    return path


def run(snapshot: Path, root: Path, *flags: object) -> int:
    return program.main(["--snapshot", str(snapshot), "--data_root", str(root), "--num_workers", "0",
                         "--precision", "fp32", *map(str, flags)])


def test_scores_equal_a_plain_loop_over_the_split(snapshot: Path, root: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    assert run(snapshot, root, "--json", tmp_path / "new" / "score.json") == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "new" / "score.json").read_text())

    net, data = network.build("sfnet_dfnetv1", 11).eval(), datasets.build("camvid", root, "val")
    network.weights.load(net, snapshot)
    matrix = np.zeros((11, 11), int)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (data.spec.mean, data.spec.std))
    for sample in (data[i] for i in range(len(data))):
        with torch.no_grad():
            predicted = net(((sample["image"] / 255 - mean) / std)[None])["main"][0].argmax(0)
        counted = sample["label"] != 255
        np.add.at(matrix, (sample["label"][counted].numpy(), predicted[counted].numpy()), 1)
    hits = matrix.diagonal()
    iou = hits / (matrix.sum(0) + matrix.sum(1) - hits)

    assert np.abs(np.array(found["confusion_matrix"]) - matrix).sum() <= 4      # float rounding may decide a near tie
    assert found["mIoU"] == pytest.approx(iou.mean(), abs=1e-3)
    assert list(found["per_class_IoU"]) == list(data.spec.names)
    assert (found["images"], found["pixels"]) == (5, matrix.sum())
    assert (found["arch"], found["snapshot_sha256"]) == ("sfnet_dfnetv1", sha256(snapshot))
    assert found["settings"]["crop_size"] == [1024, 1024]
    assert found["settings"]["weights"] == "raw"
    assert f"mIoU                    {100 * found['mIoU']:.2f} %" in said
    assert "raw weights" in said
    assert len({len(line) for line in said.splitlines() if line.startswith(("class ", *data.spec.names))}) == 1


def test_small_windows_scales_and_mirroring_run_on_every_size(snapshot: Path, root: Path, tmp_path: Path) -> None:
    assert run(snapshot, root, "--json", tmp_path / "a.json", "--crop_size", "32x40", "--scales", "0.5,1.0", "--flip",
               "--batch_size", 3, "--sliding_overlap", "1/4", "--max_images", 2) == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["images"] == 2
    assert {key: found["settings"][key] for key in ("crop_size", "scales", "flip", "sliding_overlap")} == {
        "crop_size": [32, 40], "scales": [0.5, 1.0], "flip": True, "sliding_overlap": 0.25}


def test_pictures_are_written_for_each_image(snapshot: Path, root: Path, tmp_path: Path) -> None:
    assert run(snapshot, root, "--dump_images", "--ckpt_path", tmp_path) == 0
    folders = [folder for folder in tmp_path.iterdir() if folder.is_dir()]
    found = {folder.name: sorted(file.name for file in folder.iterdir()) for folder in folders}
    assert set(found) == {"colour_masks", "overlays", "label_ids", "panels"}
    assert all(files == [f"frame{i}.png" for i in range(5)] for files in found.values())
    ids = cv2.imread(str(tmp_path / "label_ids" / "frame1.png"), cv2.IMREAD_UNCHANGED)
    mask = cv2.imread(str(tmp_path / "colour_masks" / "frame1.png"))[..., ::-1]
    assert ids.shape == (33, 47)
    assert np.array_equal(datasets.spec("camvid").palette[ids], mask)


def test_pictures_go_beside_the_snapshot_unless_told_otherwise(root: Path, tmp_path: Path) -> None:
    assert run(save(tmp_path / "last.pth"), root, "--dump_images", "--max_images", 1) == 0
    assert (tmp_path / "eval_camvid_val" / "overlays" / "frame0.png").is_file()


def test_a_split_without_labels_is_parsed_and_not_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = datasets.spec("cityscapes").names
    net = network.build("sfnet_dfnetv1", 19)
    snapshot = save(tmp_path / "last.pth", dataset="cityscapes", classes=list(classes),
                    state_dict=published_state_dict(net))
    image = tmp_path / "leftImg8bit" / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png"
    image.parent.mkdir(parents=True)
    cv2.imwrite(str(image), np.zeros((32, 64, 3), np.uint8))
    assert run(snapshot, tmp_path, "--split", "test", "--dump_images", "--json", tmp_path / "score.json") == 0
    said = capsys.readouterr().out
    assert "has no labels: nothing is scored" in said
    assert "mIoU" not in said
    assert not (tmp_path / "score.json").exists()
    written = tmp_path / "eval_cityscapes_test"
    ids = cv2.imread(str(written / "label_ids" / "berlin_000000_000019.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(ids)) <= {label.raw_ids[0] for label in datasets.spec("cityscapes").classes}
    assert not (written / "panels").exists()


def test_two_processes_find_what_one_finds(snapshot: Path, root: Path, tmp_path: Path) -> None:
    assert run(snapshot, root, "--json", tmp_path / "one.json") == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "eval.py",
               "--snapshot", str(snapshot), "--data_root", str(root), "--num_workers", "0", "--precision", "fp32",
               "--json", str(tmp_path / "two.json")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert two["confusion_matrix"] == one["confusion_matrix"]
    assert two["images"] == 5
    assert done.stdout.count("mIoU") == 1


@pytest.mark.parametrize(("flags", "message"), [
    (["--dataset", "streets"], r"trained on the 11 classes of camvid \(Sky.*\), but streets has 19 classes \(road"),
    (["--dataset", "camvids"], "unknown dataset 'camvids', did you mean 'camvid'"),
    (["--split", "tset"], "has no split 'tset', did you mean 'test'"),
    (["--arch", "sfnet_resnet18"], "holds sfnet_dfnetv1, not sfnet_resnet18"),
    (["--weights", "ema"], "holds no averaged weights"),
    (["--scales", "0.001", "--max_images", "1"], "scale 0.001 leaves nothing of an image of 48x64"),
    (["--sliding_overlap", "1"], "sliding overlap 1.0 must be at least 0 and less than 1"),
])
def test_mistakes_are_refused_with_what_to_do(snapshot: Path, root: Path, flags: list[str], message: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert run(snapshot, root, *flags) == 2
    assert_matches(capsys.readouterr().err, "eval.py: error: .*" + message)


@pytest.mark.parametrize(("content", "message"), [
    (None, "no weights at .*: give the path of a .pth file"),
    (b"PK\x03\x04 and then nothing", "is truncated"),
    (b"<html>quota exceeded", "is a web page, not weights"),
])
def test_files_that_are_no_snapshot_are_refused(root: Path, tmp_path: Path, content: bytes | None, message: str,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    if content is not None:
        (tmp_path / "last.pth").write_bytes(content)
    assert run(tmp_path / "last.pth", root) == 2
    assert_matches(capsys.readouterr().err, message)


def test_a_missing_or_strange_data_root_is_refused(snapshot: Path, root: Path, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert run(snapshot, tmp_path / "nowhere") == 2
    assert run(snapshot, root / "val") == 2
    assert program.main(["--snapshot", str(snapshot)]) == 2
    assert_matches(capsys.readouterr().err, r"nowhere is missing(.|\n)*no image matches(.|\n)*needs --data_root")


def test_a_damaged_image_is_named(snapshot: Path, root: Path, tmp_path: Path,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
        data = (root / folder / "frame0.png").read_bytes()
        (tmp_path / folder / "frame0.png").write_bytes(data[:len(data) // 2] if folder == "val" else data)
    assert run(snapshot, tmp_path) == 2
    assert_matches(capsys.readouterr().err, r"val/frame0\.png is truncated or damaged")


def test_ctrl_c_stops_with_the_shells_code(snapshot: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "score", interrupt)
    assert run(snapshot, root) == 130


@pytest.mark.parametrize(("flags", "message"), [
    (["--single_scale"], "--single_scale is retired: use --scales 1.0"),
    (["--dataset_dir", "x"], "--dataset_dir is retired: use --data_root"),
    (["--trunk", "x"], "--trunk is retired: use --arch"),
    (["--no_flp"], "unknown flag --no_flp, did you mean '--no_flip'"),
    (["--inference_mode", "pools"], "invalid choice: 'pools'"),
    (["--crop_size", "1024x"], "'1024x' is not a size"),
    (["--sliding_overlap", "1/0"], "'1/0' is not a number or fraction"),
    (["--scales", "1.0;2.0"], "'1.0;2.0' is not a number"),
])
def test_wrong_flags_are_refused_before_any_work(flags: list[str], message: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.build_parser().parse_args(["--snapshot", "last.pth", *flags])
    assert message in capsys.readouterr().err


def test_no_flip_of_old_scripts_is_accepted() -> None:
    assert program.build_parser().parse_args(["--snapshot", "last.pth", "--no_flip"]).flip is False


def assert_matches(text: str, pattern: str) -> None:
    assert re.search(pattern, text), text
