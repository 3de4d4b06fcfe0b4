"""tools.check_dataset: counts, problems, exit codes and written files."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from loss.class_weights import read_class_weights
from tools.check_dataset import __main__ as check_dataset
from tools.check_dataset import sheet as sheets

DESCRIPTION = """
images: "{split}/*.png"
labels: "{split}annot/*.png"
classes:
  - {name: road, rgb: [128, 64, 128], ids: [0, 5]}
  - {name: car, rgb: [0, 0, 142], id: 1}
  - {name: tram, rgb: [0, 80, 100], id: 2}
"""
Run = Callable[..., tuple[int, dict[str, Any]]]


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training pairs of 2x4 and one for val, with nothing wrong."""
    for split, labels in (("train", ([0, 0, 5, 5, 1, 1, 255, 255], [0] * 8)), ("val", ([1] * 8,))):
        for number, values in enumerate(labels):
            write(tmp_path / f"data/{split}/{number}.png", np.full((2, 4, 3), 90, np.uint8))
            write(tmp_path / f"data/{split}annot/{number}.png",
                  np.array(values, np.uint8).reshape(2, 4))
    (tmp_path / "my.yaml").write_text(DESCRIPTION)
    return tmp_path / "data"


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Returns a function that checks the data and returns the exit status and what --json says."""

    def check(*flags: str) -> tuple[int, dict[str, Any]]:
        file = tmp_path / "found.json"
        status = check_dataset.main(["--dataset", str(tmp_path / "my.yaml"), "--data_root",
                                     str(root), "--num_workers", "0", "--json", str(file), *flags])
        return status, json.loads(file.read_text()) if file.exists() else {}

    return check


def test_counts_are_those_of_a_hand(run: Run) -> None:
    status, report = run()
    assert (status, [*report["splits"]]) == (0, ["train", "val"])
    train = report["splits"]["train"]
    assert (train["images"], train["sizes"], train["problems"]) == (2, {"2x4": 2}, [])
    assert train["class_pixels"] == {"road": 12, "car": 2, "tram": 0, "ignored": 2, "unmapped": 0}
    assert train["class_images"] == {"road": 2, "car": 1, "tram": 0, "ignored": 1, "unmapped": 0}
    assert [
        (row["raw"], row["class"], row["pixels"], row["images"]) for row in train["raw_ids"]
    ] == [("0", "road", 10, 2), ("1", "car", 2, 1), ("5", "road", 2, 1), ("255", "ignored", 2, 1)]
    # road is 12 of the 14 labeled pixels of the images that contain it, car 2 of 6; the median is
    # (12/14 + 2/6) / 2 = 25/42
    assert train["class_weights"] == {"road": round(25 / 42 / (12 / 14), 6),
                                      "car": round(25 / 42 * 3, 6), "tram": 1.0}


def test_workers_find_the_same(run: Run) -> None:
    assert run("--num_workers", "2") == run()


def test_the_weights_are_those_that_training_reads(run: Run, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new/weights.json"
    _, report = run("--weights", str(file))
    assert read_class_weights(file, ["road", "car", "tram"]) == [
        *report["splits"]["train"]["class_weights"].values()
    ]
    assert "weight 1 for classes that train does not contain: tram" in capsys.readouterr().err


def test_every_problem_is_told_at_once(run: Run, root: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2, 9):
        write(root / f"train/{number}.png", np.full((2, 4, 3), 90, np.uint8))
        write(root / f"trainannot/{number}.png", np.zeros((2, 4), np.uint8))
    (root / "train/2.png").write_bytes((root / "train/2.png").read_bytes()[:40])
    (root / "trainannot/3.png").write_bytes(b"")
    write(root / "trainannot/4.png", np.zeros((3, 4), np.uint8))
    write(root / "trainannot/5.png", np.array([[7, 7, 9, 0]] * 2, np.uint8))
    (root / "trainannot/6.png").unlink()
    (root / "train/7.png").unlink()
    write(root / "trainannot/8.png", np.zeros((2, 4, 3), np.uint8))
    status, report = run()
    train = report["splits"]["train"]
    assert status == 1
    assert sorted(
        (problem["kind"], Path(problem["file"]).name) for problem in train["problems"]
    ) == [
        ("image and label of two sizes", "4.png"),
        ("image without label", "6.png"),
        ("label without image", "7.png"),
        ("unmapped ids", "5.png"),
        ("unreadable image", "2.png"),
        ("unreadable label", "3.png"),
        ("unreadable label", "8.png"),
    ]
    assert train["class_pixels"]["unmapped"] == 6
    text = capsys.readouterr().out
    assert "PROBLEM: unreadable label: 2" in text
    assert "7 (4 pixels), 9 (2 pixels)" in text and "ignored_ids: [255, 7, 9]" in text
    assert "7 problems" in text


def test_a_split_that_is_not_there_is_a_problem_only_where_it_must_be(run: Run, root: Path,
                                                                      tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(DESCRIPTION
                                      + "splits: {train: train, val: val, test: test}\n")
    status, report = run()
    assert (status, report["missing_splits"]) == (0, [])
    status, report = run("--split", "train", "test")
    assert (status, [problem["file"] for problem in report["missing_splits"]]) == (1, ["test"])
    (root / "val").rename(root / "elsewhere")
    status, report = run()
    assert (status, [problem["file"] for problem in report["missing_splits"]]) == (1, ["val"])


@pytest.mark.parametrize(("flags", "message"),
                         [(["--dataset", "camvit"], "unknown dataset 'camvit'"),
                          (["--split", "tarin"], "no split 'tarin', did you mean 'train'"),
                          (["--data_root", "nowhere"], "nowhere is missing"),
                          *(([flag, "/dev/null/x.png"], f"{flag} /dev/null cannot be made")
                            for flag in ("--json", "--weights", "--sheet")),
                          (["--dataset", "camvid"], "no image matches|is missing")])
def test_what_cannot_be_looked_at_is_status_2(run: Run, flags: list[str], message: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    if flags == ["--dataset", "camvid"]:
        flags = [*flags, "--split", "test"]
    assert run(*flags)[0] == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_worker_that_was_killed_is_no_stack_trace(run: Run, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr("tools.check_dataset.inspection.inspect", lambda sample: exec(killed))
    assert run("--num_workers", "1")[0] == 2
    error = capsys.readouterr().err
    assert "a process of the loader was killed" in error
    assert "Try fewer --num_workers, or 0" in error
    assert len(error.strip().splitlines()) == 1


def test_the_sheet_shows_sound_images_of_every_split(run: Run, root: Path, tmp_path: Path) -> None:
    write(root / "val/7.png", np.full((9, 3, 3), 90, np.uint8))  # higher than wide
    write(root / "valannot/7.png", np.ones((9, 3), np.uint8))
    (root / "train/1.png").write_bytes(b"")
    run("--sheet", str(tmp_path / "sheet.png"), "--sheet_images", "4")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 3 * sheets.THUMBNAIL  # train 0, val 0 and val 7 side by side
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 10


def test_the_sheet_leaves_out_images_that_lack_their_label(run: Run, root: Path,
                                                           tmp_path: Path) -> None:
    for number in (0, 1):
        (root / f"trainannot/{number}.png").unlink()
    write(root / "train/2.png", np.full((2, 4, 3), 90, np.uint8))
    write(root / "trainannot/2.png", np.zeros((2, 4), np.uint8))
    status, report = run("--sheet", str(tmp_path / "new/sheet.png"))
    assert (status, len(report["splits"]["train"]["problems"])) == (1, 2)
    assert cv2.imread(str(tmp_path / "new/sheet.png")) is not None


def test_no_sheet_is_drawn_where_no_pair_is_sound(run: Run, root: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    for path in root.glob("*/*.png"):
        path.write_bytes(b"")
    assert run("--sheet", str(tmp_path / "sheet.png"))[0] == 1
    assert "no overlays: there is no pair without problems" in "".join(capsys.readouterr())
    assert not (tmp_path / "sheet.png").exists()


def test_a_sheet_that_is_no_picture_is_refused_before_anything_is_read(run: Run) -> None:
    assert run("--sheet", "sheet.txt") == (2, {})


def test_a_merged_set_tells_the_raw_ids_of_each_part(tmp_path: Path) -> None:
    city = "leftImg8bit/train/aachen/a_leftImg8bit.png"
    for folder, image, label, raw in (
        ("bdd", "images/train/a.jpg", "labels/train/a_train_id.png", 13),
        ("cityscapes", city, "gtFine/train/aachen/a_gtFine_labelIds.png", 26),
        ("IDD", city, "gtFine/train/aachen/a_gtFine_labelids.png", 12),
        ("mapillary", "training/images/a.jpg", "training/labels/a.png", 55),
    ):
        write(tmp_path / folder / image, np.full((2, 4, 3), 90, np.uint8))
        write(tmp_path / folder / label, np.full((2, 4), raw, np.uint8))
    assert check_dataset.main(["--dataset", "uds", "--data_root", str(tmp_path), "--num_workers",
                               "0", "--split", "train", "--json",
                               str(tmp_path / "found.json")]) == 0
    train = json.loads((tmp_path / "found.json").read_text())["splits"]["train"]
    assert [(row["table"], row["raw"], row["class"]) for row in train["raw_ids"]] == [
        ("UDS, IDD", "12", "car"),
        ("UDS, bdd", "13", "car"),
        ("UDS, cityscapes", "26", "car"),
        ("UDS, mapillary", "55", "car"),
    ]
    assert (train["images"], train["class_pixels"]["car"]) == (4, 32)


def test_masks_of_0_and_255_are_a_problem(run: Run, root: Path, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.yaml").write_text("""
images: "{split}/*.png"
labels: "{split}annot/*.png"
classes:
  - {name: background, rgb: [0, 0, 0]}
  - {name: crack, rgb: [255, 255, 255]}
""")
    for path in root.glob("*annot/*.png"):
        write(path, np.array([[0, 255, 0, 0]] * 2, np.uint8))
    status, report = run()
    assert (status, len(report["class_problems"])) == (1, 1)
    text = capsys.readouterr().out
    assert "id: 255}" in text
    assert "1 problem\n" in text
    described = (tmp_path / "my.yaml").read_text()
    (tmp_path / "my.yaml").write_text(described.replace("[255, 255, 255]}",
                                                        "[255, 255, 255], id: 255}"))
    status, report = run()
    assert (status, report["class_problems"]) == (0, [])


def test_one_line_ignores_the_unmapped_ids_of_all_files(run: Run, root: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    write(root / "trainannot/0.png", np.array([[7, 0, 1, 1]] * 2, np.uint8))
    write(root / "valannot/0.png", np.array([[9, 1, 1, 2]] * 2, np.uint8))
    assert run()[0] == 1
    line = "ignored_ids: [255, 7, 9]"
    assert f"does not name, write this line there: {line}\n" in capsys.readouterr().out
    (tmp_path / "my.yaml").write_text(f"{DESCRIPTION}{line}\n")
    assert run()[0] == 0
    assert "To ignore" not in capsys.readouterr().out


def test_a_split_without_labeled_pixels_is_named(run: Run, root: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    write(root / "valannot/0.png", np.full((2, 4), 255, np.uint8))
    status, report = run()
    assert status == 1
    assert [problem["kind"] for problem in report["splits"]["val"]["problems"]] == [
        "split without labeled pixels"]
    assert "val: none of the 8 pixels" in capsys.readouterr().out


def test_names_that_are_not_utf_8_are_problems_and_the_sheet_is_drawn(
        run: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("train", "trainannot"):
        (root / folder / "0.png").rename(root / folder / os.fsdecode(b"caf\xe9.png"))
    status, report = run("--sheet", str(tmp_path / "sheet.png"))
    assert (status, {problem["kind"] for problem in report["splits"]["train"]["problems"]}) == (
        1, {"name that is not UTF-8"})
    assert r"train/caf\xe9.png has a name that is not UTF-8" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
