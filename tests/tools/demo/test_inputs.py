from __future__ import annotations

from pathlib import Path

import cv2
import pytest

import datasets
from tests.tools.demo.conftest import picture
from tools.demo.inputs import PICTURE_SUFFIXES, find_inputs
from utils.logs import start_logging


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    files = [picture(tmp_path / name) for name in ("a.png", "a.jpg")]
    assert find_inputs(map(str, [*files, files[0]])) == {"a": files[0], "a_": files[1]}


@pytest.mark.parametrize(("files", "message"),
                         [(["notes.txt"],
                           r"holds no image \(.png .jpg .jpeg .webp .bmp .tif .tiff .gif\) and no "
                           r"video .*"
                           "Name the folder that holds them"),
                          (["deeper/a.png"],
                           "Subfolders are not searched: name one, such as .*deeper"),
                          (None, "does not exist: give an image, a video, a folder of them")])
def test_an_input_without_pictures_is_refused(tmp_path: Path, files: list[str] | None,
                                              message: str) -> None:
    for file in files or []:
        (tmp_path / "in" / file).parent.mkdir(parents=True)
        (tmp_path / "in" / file).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=message):
        find_inputs([str(tmp_path / "in")])


def test_every_image_of_a_folder_is_taken_and_what_is_not_is_named(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    names = [f"a{index}{suffix}" for index, suffix in enumerate(PICTURE_SUFFIXES)]
    for name in [*names, "b.PNG", "c.mp4", "._a.jpg", "notes.txt"]:
        (tmp_path / name).touch()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "deeper").mkdir()
    taken = find_inputs([str(tmp_path)]).values()
    assert {Path(path).name for path in taken} == {*names, "b.PNG", "c.mp4", "gone.jpg"}
    assert "2 files are left out, which are hidden or named neither as an image nor as a video: " \
        "._a.jpg, notes.txt" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_every_image_of_a_folder_can_be_read(tmp_path: Path, suffix: str) -> None:
    try:
        path = picture(tmp_path / f"a{suffix}")
    except cv2.error:
        pytest.skip(f"this OpenCV has no codec for {suffix}")
    assert datasets.read_image(path, upright=True).shape == (40, 60, 3)
