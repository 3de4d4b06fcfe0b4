from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import datasets
import network
from network.weights import published_state_dict
from tools import demo

SPEC = datasets.spec("camvid")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "last.pth"
    torch.manual_seed(0)
    net = network.build("sfnet_dfnetv1", SPEC.num_classes)
    torch.save({"arch": "sfnet_dfnetv1", "dataset": "camvid", "classes": list(SPEC.names),
                "state_dict": published_state_dict(net), "ema": None}, path)
    return path


def picture(path: Path, height: int = 40, width: int = 60) -> Path:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3), np.uint8))
    return path


def run(snapshot: Path, out: Path, *inputs: Path) -> int:
    return demo.main(["--snapshot", str(snapshot), "--out", str(out), "--input", *map(str, inputs)])


def test_each_picture_of_a_folder_becomes_overlay_mask_and_ids(snapshot: Path, tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deeper").mkdir(parents=True)
    picture(folder / "a.png", 33, 47)
    picture(folder / "B.JPG", 40, 150)
    picture(folder / "deeper" / "c.png")
    (folder / "notes.txt").write_text("no picture")
    assert run(snapshot, out, folder) == 0
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == {
        f"{kind}/{name}.png" for kind in ("overlays", "colour_masks", "label_ids") for name in ("a", "B")}
    ids = cv2.imread(str(out / "label_ids" / "a.png"), cv2.IMREAD_UNCHANGED)
    mask = cv2.imread(str(out / "colour_masks" / "a.png"))[..., ::-1]
    overlay = cv2.imread(str(out / "overlays" / "a.png"))
    assert ids.shape == (33, 47)
    assert np.array_equal(SPEC.palette[ids], mask)
    assert overlay.shape[1] == 9 * 47                       # enlarged to be looked at
    assert overlay.shape[0] > 9 * 33                        # the legend stands below
    assert "2 of 2 pictures in" in capsys.readouterr().out


def test_a_corrupt_picture_is_named_and_skipped(snapshot: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = picture(tmp_path / "good.png"), tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:500])
    assert run(snapshot, tmp_path / "out", tmp_path) == 0
    said = capsys.readouterr()
    assert "bad.png is truncated or damaged" in said.err
    assert "1 of 2 pictures" in said.out
    assert "1 skipped" in said.out


def test_nothing_but_corrupt_pictures_is_a_failure(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    assert run(snapshot, tmp_path / "out", tmp_path / "bad.png") == 1


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    files = [picture(tmp_path / name) for name in ("a.png", "a.jpg")]
    assert demo.find_pictures([*files, files[0]]) == {"a": files[0], "a_": files[1]}


def test_a_camera_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", 20, 30)
    # an EXIF block (big-endian TIFF) of one entry: tag 0x112 orientation, type 3 short, count 1, value 6 (turn right)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert datasets.read_image(path, upright=True).shape == (30, 20, 3)


@pytest.mark.parametrize(("files", "message"), [
    (["notes.txt"], r"holds no picture \(.png .jpg .jpeg .webp\). Name the folder that holds them"),
    (["deeper/a.png"], "Subfolders are not searched: name one, such as .*deeper"),
    (None, "does not exist: give a picture or a folder of pictures"),
])
def test_an_input_without_pictures_is_refused(tmp_path: Path, files: list[str] | None, message: str) -> None:
    for file in files or []:
        (tmp_path / "in" / file).parent.mkdir(parents=True)
        (tmp_path / "in" / file).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=message):
        demo.find_pictures([tmp_path / "in"])


def test_mistakes_end_with_a_message(snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.pth", tmp_path / "out", picture(tmp_path / "a.png")) == 2
    assert "tools.demo: error: no weights at" in capsys.readouterr().err


def test_other_classes_than_the_snapshots_are_refused(snapshot: Path, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--snapshot", str(snapshot), "--out", str(tmp_path), "--input", str(picture(tmp_path / "a.png"))]
    assert demo.main([*flags, "--dataset", "cityscapes"]) == 2
    assert "but cityscapes has 19 classes" in capsys.readouterr().err
