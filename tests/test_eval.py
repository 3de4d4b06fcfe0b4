from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import datasets
import eval as program
import network
from network.checkpoints.weights import published_state_dict
from tools import merge
from tools.make_streets import __main__ as make_streets
from utils.evaluation.statistics import bootstrap
from utils.files import sha256
from utils.report import results
from utils.training.signals import Interrupts

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
            cv2.imwrite(
                str(folder / split / f"frame{i}.png"),
                rng.integers(0, 256, (height, width, 3), np.uint8),
            )
            # 11 is void
            label = rng.integers(0, 12, (height // 4 + 1, width // 4 + 1), np.uint8)
            label = label.repeat(4, 0).repeat(4, 1)[:height, :width]
            cv2.imwrite(str(folder / f"{split}annot" / f"frame{i}.png"), label)
    return folder


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "last.pth")


def save(path: Path, **changes: Any) -> Path:
    torch.manual_seed(0)
    net = network.build("sfnet_dfnetv1", 11)
    # so that several classes are predicted
    torch.nn.init.normal_(net.head.conv_last[1].weight, std=1.0)
    torch.save(
        {
            "arch": "sfnet_dfnetv1",
            "dataset": "camvid",
            "classes": list(datasets.spec("camvid").names),
            "state_dict": published_state_dict(net),
            "ema": None,
            **changes,
        },
        path,
    )
    return path


def run(snapshot: Path, root: Path, *flags: object) -> int:
    return program.main(
        [
            "--snapshot",
            str(snapshot),
            "--data_root",
            str(root),
            "--num_workers",
            "0",
            "--precision",
            "fp32",
            *map(str, flags),
        ]
    )


def test_scores_equal_a_plain_loop_over_the_split(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, root, "--json", tmp_path / "new" / "score.json") == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "new" / "score.json").read_text())

    net, data = network.build("sfnet_dfnetv1", 11).eval(), datasets.build("camvid", root, "val")
    network.checkpoints.weights.load(net, snapshot)
    matrix = np.zeros((11, 11), int)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in net.normalization)
    for sample in (data[i] for i in range(len(data))):
        with torch.no_grad():
            predicted = net(((sample["image"] / 255 - mean) / std)[None])["main"][0].argmax(0)
        counted = sample["label"] != 255
        np.add.at(matrix, (sample["label"][counted].numpy(), predicted[counted].numpy()), 1)
    hits = matrix.diagonal()
    iou = hits / (matrix.sum(0) + matrix.sum(1) - hits)

    # float rounding may decide a near tie
    assert np.abs(np.array(found["confusion_matrix"]) - matrix).sum() <= 4
    assert found["mIoU"] == pytest.approx(iou.mean(), abs=1e-3)
    assert list(found["per_class_IoU"]) == list(data.spec.names)
    assert (found["images"], found["pixels"]) == (5, matrix.sum())
    assert (found["arch"], found["snapshot_sha256"]) == ("sfnet_dfnetv1", sha256(snapshot))
    assert found["settings"]["crop_size"] == [1024, 1024]
    assert found["settings"]["weights"] == "raw"
    assert f"mIoU                    {100 * found['mIoU']:.2f} %" in said
    assert "raw weights" in said
    assert (
        len(
            {
                len(line)
                for line in said.splitlines()
                if line.startswith(("class ", *data.spec.names))
            }
        )
        == 1
    )


def test_a_folder_for_the_scores_is_refused_before_any_work(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, root, "--json", tmp_path) == 2
    assert f"--json {tmp_path} is a folder: name a file" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_small_windows_scales_and_mirroring_run_on_every_size(
    snapshot: Path, root: Path, tmp_path: Path
) -> None:
    assert (
        run(
            snapshot,
            root,
            "--json",
            tmp_path / "a.json",
            "--crop_size",
            "32x40",
            "--scales",
            "0.5,1.0",
            "--flip",
            "--batch_size",
            3,
            "--sliding_overlap",
            "1/4",
            "--max_images",
            2,
        )
        == 0
    )
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["images"] == 2
    assert {
        key: found["settings"][key] for key in ("crop_size", "scales", "flip", "sliding_overlap")
    } == {"crop_size": [32, 40], "scales": [0.5, 1.0], "flip": True, "sliding_overlap": 0.25}


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


def test_pictures_are_written_beside_the_snapshot_by_default(root: Path, tmp_path: Path) -> None:
    assert run(save(tmp_path / "last.pth"), root, "--dump_images", "--max_images", 1) == 0
    assert (tmp_path / "eval_camvid_val_first1" / "overlays" / "frame0.png").is_file()


def test_a_look_at_a_few_images_leaves_the_full_evaluation_alone(
    root: Path, tmp_path: Path
) -> None:
    snapshot = save(tmp_path / "last.pth")
    assert run(snapshot, root) == 0
    full, few = tmp_path / "eval_camvid_val", tmp_path / "eval_camvid_val_first2"
    kept = {path.name: path.read_bytes() for path in full.iterdir() if path.is_file()}
    assert run(snapshot, root, "--max_images", 2) == 0
    assert {path.name: path.read_bytes() for path in full.iterdir() if path.is_file()} == kept
    assert json.loads((few / "scores.json").read_text())["images"] == 2
    # the newest evaluation of all images is the one that a report of the run is about
    assert results.find(tmp_path) == full
    # so many images are all of them
    assert run(snapshot, root, "--max_images", 5) == 0
    assert json.loads((full / "scores.json").read_text())["settings"]["max_images"] is None
    assert sorted(path.name for path in tmp_path.glob("eval_*")) == [full.name, few.name]


def test_the_folder_of_a_run_stands_for_its_best_checkpoint_or_else_the_last(
    root: Path, tmp_path: Path
) -> None:
    for name, std in (("last.pth", 1.0), ("best.pth", 2.0)):
        path = save(tmp_path / name)
        payload = torch.load(path, weights_only=True)
        payload["state_dict"]["head.conv_last.1.bias"] += std
        torch.save(payload, path)
        assert run(tmp_path, root) == 0
        scores = json.loads((tmp_path / "eval_camvid_val" / "scores.json").read_text())
        assert scores["snapshot_sha256"] == sha256(path)
        assert scores["settings"]["snapshot"] == str(path)


def test_a_folder_without_a_checkpoint_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, root) == 2
    assert_matches(
        capsys.readouterr().err, r"holds no checkpoint \(best\.pth, last\.pth\): give the folder"
    )


def test_a_split_without_labels_is_predicted_and_not_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = datasets.spec("cityscapes").names
    net = network.build("sfnet_dfnetv1", 19)
    snapshot = save(
        tmp_path / "last.pth",
        dataset="cityscapes",
        classes=list(classes),
        state_dict=published_state_dict(net),
    )
    image = tmp_path / "leftImg8bit" / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png"
    image.parent.mkdir(parents=True)
    cv2.imwrite(str(image), np.zeros((32, 64, 3), np.uint8))
    assert (
        run(
            snapshot,
            tmp_path,
            "--split",
            "test",
            "--dump_images",
            "--json",
            tmp_path / "score.json",
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "has no labels, so there are no scores" in said
    assert "mIoU" not in said
    assert not (tmp_path / "score.json").exists()
    written = tmp_path / "eval_cityscapes_test"
    ids = cv2.imread(str(written / "label_ids" / "berlin_000000_000019.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(ids)) <= {
        label.raw_ids[0] for label in datasets.spec("cityscapes").classes
    }
    assert not (written / "panels").exists()
    with zipfile.ZipFile(written / "submission.zip") as archive:
        assert archive.namelist() == ["berlin_000000_000019_leftImg8bit.png"]
    assert "1 files of label ids, their names, sizes and ids checked" in said
    assert not (written / "scores.json").exists()
    for flag in (["--report"], ["--expect", "0.5"]):
        assert run(snapshot, tmp_path, "--split", "test", *flag) == 2
        assert_matches(
            capsys.readouterr().err,
            f"{flag[0]}: Cityscapes test has no labels, so there is nothing to",
        )


def test_two_processes_give_the_scores_of_one(snapshot: Path, root: Path, tmp_path: Path) -> None:
    assert run(snapshot, root, "--json", tmp_path / "one.json") == 0
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "eval.py",
        "--snapshot",
        str(snapshot),
        "--data_root",
        str(root),
        "--num_workers",
        "0",
        "--precision",
        "fp32",
        "--json",
        str(tmp_path / "two.json"),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert two["confusion_matrix"] == one["confusion_matrix"]
    assert two["images"] == 5
    assert done.stdout.count("mIoU") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--dataset", "streets"],
            r"trained on the 11 classes of camvid \(Sky.*\), but streets has 19 classes \(road",
        ),
        (["--dataset", "camvids"], "unknown dataset 'camvids', did you mean 'camvid'"),
        (["--split", "tset"], "has no split 'tset', did you mean 'test'"),
        (["--arch", "sfnet_resnet18"], "holds sfnet_dfnetv1, not sfnet_resnet18"),
        (["--weights", "ema"], "holds no averaged weights"),
        (
            ["--scales", "0.001", "--max_images", "1"],
            "scale 0.001 leaves nothing of an image of 48x64",
        ),
        (
            ["--split_count", "2", "--expect", "0.5"],
            "--expect needs all images: give it to `python -m tools.merge`",
        ),
        (["--sliding_overlap", "1"], "sliding overlap 1.0 must be at least 0 and less than 1"),
    ],
)
def test_invalid_flags_are_refused_with_a_remedy(
    snapshot: Path, root: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, root, *flags) == 2
    assert_matches(capsys.readouterr().err, "eval.py: error: .*" + message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no weights at .*: give the path of a .pth file"),
        (b"PK\x03\x04 and then nothing", "is truncated"),
        (b"<html>quota exceeded", "is a web page, not weights"),
    ],
)
def test_files_that_are_not_snapshots_are_refused(
    root: Path,
    tmp_path: Path,
    content: bytes | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / "last.pth").write_bytes(content)
    assert run(tmp_path / "last.pth", root) == 2
    assert_matches(capsys.readouterr().err, message)


def test_a_missing_or_strange_data_root_is_refused(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, tmp_path / "nowhere") == 2
    assert run(snapshot, root / "val") == 2
    assert program.main(["--snapshot", str(snapshot)]) == 2
    assert_matches(
        capsys.readouterr().err,
        r"nowhere is missing(.|\n)*no image matches(.|\n)*needs --data_root",
    )


def test_a_damaged_image_is_named(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
        data = (root / folder / "frame0.png").read_bytes()
        (tmp_path / folder / "frame0.png").write_bytes(
            data[: len(data) // 2] if folder == "val" else data
        )
    assert run(snapshot, tmp_path) == 2
    assert_matches(capsys.readouterr().err, r"val/frame0\.png is truncated or damaged")


def test_the_counts_of_each_image_are_written_beside_the_scores(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            snapshot,
            root,
            "--ckpt_path",
            tmp_path / "out",
            "--evaluateF",
            "--eval_thresholds",
            "0.01,0.05",
            "--json",
            tmp_path / "a.json",
        )
        == 0
    )
    found, scores = (
        np.load(tmp_path / "out" / "per_image.npz"),
        json.loads((tmp_path / "a.json").read_text()),
    )
    assert found["names"].tolist() == [f"frame{i}" for i in range(5)]
    assert found["classes"].tolist() == list(datasets.spec("camvid").names)
    assert found["matrices"].shape == (5, 11, 11) and np.issubdtype(
        found["matrices"].dtype, np.integer
    )
    assert found["matrices"].sum(0).tolist() == scores["confusion_matrix"]
    assert found["boundary_f"].shape == (5, 2, 11)
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores
    assert scores["mIoU_interval"] == pytest.approx(bootstrap(found["matrices"]))
    means = np.where(np.isnan(found["boundary_f"]), 1, found["boundary_f"]).mean((0, 2))
    assert [scores["boundary_F"][key]["mean"] for key in ("0.01", "0.05")] == pytest.approx(means)
    assert set(scores["per_category_IoU"]) == {
        label.category for label in datasets.spec("camvid").classes
    }
    assert not (tmp_path / "out" / "parts").exists()
    assert "boundary F at 0.05" in capsys.readouterr().out


def test_drives_and_borders_are_scored_and_kept(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # a copy whose names tell two videos
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
        for index, video in enumerate("aaabb"):
            data = (root / folder / f"frame{index}.png").read_bytes()
            (tmp_path / folder / f"{video}_{index}.png").write_bytes(data)
    assert run(snapshot, tmp_path, "--ckpt_path", tmp_path / "out", "--trimap", 2) == 0
    found = np.load(tmp_path / "out" / "per_image.npz")
    groups = ["a, block 0"] * 3 + ["b, block 0"] * 2
    assert found["groups"].tolist() == groups
    assert (found["border"] <= found["matrices"]).all() and found["border"].any()
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    expected = bootstrap(found["matrices"], groups=groups)
    assert scores["mIoU_interval"] == pytest.approx(expected)
    assert scores["mIoU_interval_groups"] == 2
    assert scores["trimap"]["width"] == 2
    out = capsys.readouterr().out
    assert "over 2 groups of images" in out and "mIoU at borders" in out


def test_merged_shards_give_the_scores_of_one_run(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, shared, far = tmp_path / "one", tmp_path / "shared", tmp_path / "far"
    assert run(snapshot, root, "--ckpt_path", one, "--evaluateF") == 0
    for index, folder in enumerate((shared, far, shared)):
        if index == 2:
            assert merge.main([str(shared), str(far)]) == 2
            assert_matches(capsys.readouterr().err, r"1 of 5 images are missing \(number 2\)")
        share = "--split_count", 3, "--split_index", index
        assert run(snapshot, root, "--ckpt_path", folder, "--evaluateF", *share) == 0
        assert_matches(
            capsys.readouterr().out, r"of 5 images are done in .*: python -m tools.merge"
        )
    assert not (shared / "per_image.npz").exists()
    expected = json.loads((one / "scores.json").read_text())
    assert merge.main([str(shared), str(far), "--expect", str(expected["mIoU"])]) == 0
    found = json.loads((shared / "scores.json").read_text())
    shares = found["settings"].pop("split_count"), found["settings"].pop("split_index")
    # the last that was written there
    assert shares == (3, 2)
    assert found == {
        **expected,
        "settings": {k: v for k, v in expected["settings"].items() if "split_" not in k},
    }
    for key, array in np.load(one / "per_image.npz").items():
        assert np.array_equal(
            array, np.load(shared / "per_image.npz")[key], equal_nan=array.dtype.kind == "f"
        ), key


def test_the_last_shard_in_a_common_folder_scores_all_images(
    snapshot: Path, root: Path, tmp_path: Path
) -> None:
    for index in (1, 0):
        assert (
            run(snapshot, root, "--ckpt_path", tmp_path, "--split_count", 2, "--split_index", index)
            == 0
        )
    assert json.loads((tmp_path / "scores.json").read_text())["images"] == 5
    # only tells it again
    assert merge.main([str(tmp_path)]) == 0


def test_an_interrupted_run_keeps_its_results_and_is_resumed(
    snapshot: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(snapshot, root, "--ckpt_path", one) == 0
    check, calls = Interrupts.check, []

    def interrupt(self: Interrupts) -> None:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        check(self)

    with monkeypatch.context() as patch:
        patch.setattr(Interrupts, "check", interrupt)
        assert run(snapshot, root, "--ckpt_path", two) == 130
    assert_matches(
        capsys.readouterr().err, "interrupted by SIGINT: the results so far are saved.* --resume"
    )
    assert run(snapshot, root, "--ckpt_path", two, "--resume") == 0
    assert_matches(capsys.readouterr().out, "2 images have results, 3 are left to do")
    first, second = (json.loads((folder / "scores.json").read_text()) for folder in (one, two))
    assert first["confusion_matrix"] == second["confusion_matrix"]
    assert first["mIoU_interval"] == second["mIoU_interval"]
    # a finished one is only told again
    assert run(snapshot, root, "--ckpt_path", two, "--resume") == 0
    assert (
        json.loads((two / "scores.json").read_text())["confusion_matrix"]
        == first["confusion_matrix"]
    )


def test_a_folder_of_another_run_is_refused(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, root, "--ckpt_path", tmp_path / "out") == 0
    kept = (tmp_path / "out" / "scores.json").read_bytes()
    assert run(snapshot, root, "--ckpt_path", tmp_path / "out", "--scales", "0.5") == 2
    assert_matches(
        capsys.readouterr().err, r"out holds another evaluation \(scales: \[1.0\], not \[0.5\]\)"
    )
    other = save(tmp_path / "other.pth", note="another file")
    assert run(other, root, "--ckpt_path", tmp_path / "out", "--resume") == 2
    assert_matches(
        capsys.readouterr().err,
        "holds another evaluation .*snapshot_sha256: .*choose another --ckpt_path",
    )
    assert (tmp_path / "out" / "scores.json").read_bytes() == kept
    # the same again is no other run
    assert run(snapshot, root, "--ckpt_path", tmp_path / "out") == 0


def test_the_default_folder_holds_the_latest_run(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = save(tmp_path / "last.pth")
    assert run(snapshot, root, "--dump_images") == 0
    assert run(snapshot, root) == 0
    assert (tmp_path / "eval_camvid_val" / "label_ids").exists()
    assert "overwrites" not in capsys.readouterr().err
    assert run(snapshot, root, "--scales", "0.5") == 0
    assert_matches(
        capsys.readouterr().err,
        r"holds another evaluation \(scales: \[1.0\], not \[0.5\]\), which this one "
        "overwrites; --ckpt_path FOLDER keeps both",
    )
    assert json.loads((tmp_path / "eval_camvid_val" / "scores.json").read_text())["settings"][
        "scales"
    ] == [0.5]
    # they were the other one's
    assert not (tmp_path / "eval_camvid_val" / "label_ids").exists()
    assert run(snapshot, root, "--resume") == 2
    assert_matches(capsys.readouterr().err, "holds another evaluation")


def test_pooling_predicts_images_of_one_size_in_one_batch(
    snapshot: Path, root: Path, tmp_path: Path
) -> None:
    assert (
        run(
            snapshot, root, "--inference_mode", "whole", "--flip", "--ckpt_path", tmp_path / "whole"
        )
        == 0
    )
    assert (
        run(
            snapshot,
            root,
            "--inference_mode",
            "pooling",
            "--flip",
            "--batch_size",
            2,
            "--ckpt_path",
            tmp_path / "pooling",
        )
        == 0
    )
    whole, pooling = (np.load(tmp_path / name / "per_image.npz") for name in ("whole", "pooling"))
    assert whole["names"].tolist() == pooling["names"].tolist()
    # rounding may decide a near tie
    assert np.abs(whole["matrices"] - pooling["matrices"]).sum() <= 4


def assert_alike(one: Path, other: Path) -> None:
    """Fails where more than near ties, which rounding may decide, differ."""
    counts = [np.load(folder / "per_image.npz")["matrices"] for folder in (one, other)]
    assert np.abs(counts[0] - counts[1]).sum() <= 4


def test_the_deployed_network_is_scored_on_request_alone(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, root, "--ckpt_path", tmp_path / "trained") == 0
    assert run(snapshot, root, "--ckpt_path", tmp_path / "deployed", "--deployed") == 0
    assert_alike(tmp_path / "trained", tmp_path / "deployed")
    assert "deployed" not in json.loads((tmp_path / "trained" / "run.json").read_text())
    assert run(snapshot, root, "--ckpt_path", tmp_path / "trained", "--deployed", "--resume") == 2
    assert_matches(
        capsys.readouterr().err, r"holds another evaluation \(deployed: null, not true\)"
    )


def test_the_calibration_is_scored_beside_the_same_classes(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` brings it")
    snapshot = save(tmp_path / "last.pth", temperature=2.0)
    plain, sure = tmp_path / "plain", tmp_path / "sure"
    assert run(snapshot, root, "--ckpt_path", plain) == 0
    assert run(snapshot, root, "--ckpt_path", sure, "--calibration") == 0
    counts = [np.load(folder / "per_image.npz")["matrices"] for folder in (plain, sure)]
    assert np.array_equal(*counts)
    scores = json.loads((sure / "scores.json").read_text())
    calibration = scores["calibration"]
    assert calibration["temperature"] == 2.0
    assert calibration["error_rate"] == pytest.approx(1 - scores["pixel_accuracy"])
    model = program.load_predictor(snapshot, device="cpu", precision="fp32")
    confidences = []
    data = datasets.build("camvid", root, "val")
    for sample in (data[i] for i in range(len(data))):
        largest = model.predictor.probabilities(sample["image"][None])[0].amax(0)
        confidences.append(largest[sample["label"] != 255])
    mean = sum(row["pixels"] * row["confidence"] for row in calibration["bins"] if row["pixels"])
    assert mean == pytest.approx(torch.cat(confidences).mean().item(), abs=1e-4)
    assert (sure / "calibration.png").is_file()
    assert run(snapshot, root, "--ckpt_path", plain, "--calibration", "--resume") == 2
    assert_matches(
        capsys.readouterr().err, r"holds another evaluation \(temperature: null, not 2.0\)"
    )


@pytest.mark.slow
def test_a_compiled_network_scores_alike(snapshot: Path, root: Path, tmp_path: Path) -> None:
    torch.compiler.reset()
    assert run(snapshot, root, "--ckpt_path", tmp_path / "eager", "--max_images", 2) == 0
    assert (
        run(snapshot, root, "--ckpt_path", tmp_path / "compiled", "--max_images", 2, "--compile")
        == 0
    )
    assert_alike(tmp_path / "eager", tmp_path / "compiled")


def test_compiling_without_a_compiler_is_refused_before_any_work(
    snapshot: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert run(snapshot, root, "--ckpt_path", tmp_path / "out", "--compile") == 2
    assert_matches(capsys.readouterr().err, r"--compile needs a C\+\+ compiler")
    assert not (tmp_path / "out").exists()


def test_equals_the_official_scorer_on_the_label_ids_that_it_writes(tmp_path: Path) -> None:
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="cityscapesscripts is in the test extra",
    )
    make_streets.main(
        ["--out", str(tmp_path), "--train", "1", "--val", "4", "--size", "64x128", "--workers", "1"]
    )
    torch.manual_seed(1)
    net = network.build("sfnet_dfnetv1", 19)
    torch.nn.init.normal_(net.head.conv_last[1].weight, std=1.0)
    snapshot = save(
        tmp_path / "last.pth",
        dataset="streets",
        classes=list(datasets.spec("streets").names),
        state_dict=published_state_dict(net),
    )
    out = tmp_path / "out"
    assert run(snapshot, tmp_path, "--dump_images", "--ckpt_path", out) == 0
    ours = json.loads((out / "scores.json").read_text())
    truths = sorted(map(str, tmp_path.glob("gtFine/val/*/*_labelIds.png")))
    written = [
        str(out / "label_ids" / Path(truth).name.replace("_gtFine_labelIds", ""))
        for truth in truths
    ]
    args = official.args
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    theirs = official.evaluateImgLists(written, truths, args)
    assert ours["mIoU"] == pytest.approx(theirs["averageScoreClasses"], abs=1e-9)
    assert ours["mean_category_IoU"] == pytest.approx(theirs["averageScoreCategories"], abs=1e-9)
    for own, other in (("per_class_IoU", "classScores"), ("per_category_IoU", "categoryScores")):
        for name, value in ours[own].items():
            expected = theirs[other][name]
            assert (value is None and np.isnan(expected)) or value == pytest.approx(
                expected, abs=1e-9
            ), name
    assert ours["images"] == 4 and len({*ours["per_category_IoU"]}) == 7


def test_a_score_that_is_not_the_expected_one_fails(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, root, "--json", tmp_path / "a.json") == 0
    found = json.loads((tmp_path / "a.json").read_text())["mIoU"]
    assert run(snapshot, root, "--expect", found + 0.0019) == 0
    assert run(snapshot, root, "--expect", found + 0.003) == 1
    assert_matches(capsys.readouterr().err, r"is NOT the expected")
    assert run(snapshot, root, "--expect", found + 0.003, "--tolerance", 0.004) == 0
    assert run(snapshot, root, "--expect", found, "--split_count", 2) == 2
    assert_matches(capsys.readouterr().err, "--expect needs all images")


def test_a_shard_out_of_range_is_refused(
    snapshot: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, root, "--split_count", 2, "--split_index", 2) == 2
    assert_matches(
        capsys.readouterr().err,
        "--split_index 2 is out of range: the shards of --split_count 2 are numbered from 0 to 1",
    )


def test_merging_refuses_different_evaluations(
    snapshot: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge.main([str(tmp_path)]) == 2
    assert_matches(capsys.readouterr().err, "holds no run.json, so eval.py wrote nothing there")
    for name, scale in (("a", 1.0), ("b", 0.5)):
        assert (
            run(
                snapshot, root, "--ckpt_path", tmp_path / name, "--scales", scale, "--max_images", 1
            )
            == 0
        )
    assert merge.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert_matches(capsys.readouterr().err, "holds another evaluation than")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--single_scale"], "--single_scale is retired: use --scales 1.0"),
        (["--dataset_dir", "x"], "--dataset_dir is retired: use --data_root"),
        (["--trunk", "x"], "--trunk is retired: use --arch"),
        (["--no_flp"], "unknown flag --no_flp, did you mean '--no_flip'"),
        (["--inference_mode", "pools"], "invalid choice: 'pools'"),
        (["--crop_size", "1024x"], "'1024x' is not a size"),
        (["--sliding_overlap", "1/0"], "'1/0' is not a number or fraction"),
        (["--scales", "1.0;2.0"], "'1.0;2.0' is not a number"),
        (["--expect", "78.5"], "'78.5' is not a fraction from 0 to 1: write 78.5 % as 0.785"),
        (["--eval_thresholds", "0.01,2"], "'0.01,2' is not a list of fractions of the diagonal"),
    ],
)
def test_wrong_flags_are_refused_before_any_work(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.build_parser().parse_args(["--snapshot", "last.pth", *flags])
    assert message in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_named_with_its_flag(
    snapshot: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(snapshot, root, "--ckpt_path", snapshot / "out") == 2
    expected = (f"--ckpt_path {snapshot}/out/parts cannot be made (Not a directory): name another "
                "folder")
    assert expected in capsys.readouterr().err


def test_no_flip_of_old_scripts_is_accepted() -> None:
    assert program.build_parser().parse_args(["--snapshot", "last.pth", "--no_flip"]).flip is False


def assert_matches(text: str, pattern: str) -> None:
    assert re.search(pattern, text), text


@pytest.mark.parametrize("fuse", [False, True])
def test_a_loaded_predictor_gives_the_labels_of_the_network(fuse: bool, snapshot: Path) -> None:
    model = program.load_predictor(snapshot, device="cpu", precision="fp32", fuse=fuse)
    images = torch.randint(0, 256, (2, 3, 32, 40), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in model.net.normalization)
    with torch.no_grad():
        expected = model.net((images / 255 - mean) / std)["main"].argmax(1)
    assert (model.predictor.labels(images) == expected).float().mean() > 0.999
    assert (model.trained.arch, model.spec.name, model.net.training) == (
        "sfnet_dfnetv1",
        "camvid",
        False,
    )
    assert (model.predictor.net is model.net) is not fuse


@pytest.mark.parametrize(("settings", "has_graphs", "is_rounded"), [
    ({}, True, True),
    ({"graphs": False}, False, True),
    ({"compile": True}, False, True),
    ({"fuse": False}, True, False),
], ids=str)
def test_a_predictor_on_a_gpu_has_cuda_graphs_and_rounded_weights(
    settings: dict[str, Any], has_graphs: bool, is_rounded: bool, snapshot: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr(program, "Predictor",
                        lambda net, *args, **kwargs: found.update(kwargs, net=net))
    model = program.load_predictor(snapshot, device="cuda", precision="fp16", **settings)
    assert found["graphs"] is has_graphs
    weight = next(found["net"].parameters())
    assert weight.dtype == (torch.float16 if is_rounded else torch.float32)
    # the network as it was trained
    assert {parameter.dtype for parameter in model.net.parameters()} == {torch.float32}


def test_a_predictor_takes_the_name_or_the_spec_of_another_dataset_of_as_many_classes(
    snapshot: Path,
) -> None:
    spec = datasets.spec("camvid")
    for dataset in ("camvid", spec):
        assert program.load_predictor(snapshot, dataset=dataset, precision="fp32").spec is spec
    with pytest.raises(
        ValueError, match=r"trained on the 11 classes of camvid .* but cityscapes has 19"
    ):
        program.load_predictor(snapshot, dataset="cityscapes")
