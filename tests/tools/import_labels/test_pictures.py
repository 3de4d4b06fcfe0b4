from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from datasets.spec import DatasetError
from tests.tools.import_labels.conftest import write_picture
from tools.import_labels.pictures import Pictures, checked_size, name_of, relative_path
from tools.import_labels.shapes import AnnotatedImage


def annotated(file: str, size: tuple[int, int] | None = None,
              folders: tuple[Path, ...] = ()) -> AnnotatedImage:
    return AnnotatedImage(file, Path("labels.json"), list, size, folders=folders)


def test_an_image_is_found_by_its_path_or_else_by_its_name(tmp_path: Path) -> None:
    first = write_picture(tmp_path / "x/a.png")
    pictures = Pictures([tmp_path])
    for file in ("x/a.png", "a.png", "..\\photos\\a.png", "C:\\data\\a.png", "/home/me/a.png", "a",
                 "A.PNG"):
        assert pictures.find(annotated(file)) == first
    assert pictures.find(annotated("b.png")) is None
    second = write_picture(tmp_path / "y/a.png")
    pictures = Pictures([tmp_path])
    # the path below the folder, then the longest common ending decides
    assert pictures.find(annotated("y/a.png")) == second
    assert pictures.find(annotated("/data/y/a.png")) == second
    assert pictures.find(annotated("a.png", folders=(tmp_path / "y",))) == second
    with pytest.raises(DatasetError, match=r"x/a.png or .*y/a.png: name one of their folders"):
        pictures.find(annotated("z/a.png"))


def test_hidden_files_and_files_that_are_no_images_are_not_found(tmp_path: Path) -> None:
    write_picture(tmp_path / ".hidden/a.png")
    (tmp_path / "a.txt").write_text("")
    assert Pictures([tmp_path]).find(annotated("a")) is None


def test_links_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "x/a.png")
    (tmp_path / "x/back").symlink_to(tmp_path, target_is_directory=True)
    assert Pictures([tmp_path]).by_name["a.png"] == [path]


@pytest.mark.parametrize(("file", "name"), [
    ("train/a.b.jpg", "train/a.b"), ("../x/a.PNG", "x/a"), ("/home/me/a.png", "a"),
    ("a.v2", "a.v2"), ("x/.a.png", "x/a"),
])
def test_the_name_is_the_path_of_the_annotation_file(file: str, name: str) -> None:
    assert name_of(annotated(file), Path("a.png")) == PurePosixPath(name)
    assert ".." not in relative_path(file).parts


def test_an_image_of_another_size_or_format_is_refused(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", 8, 12)
    assert checked_size(annotated("a.png", (8, 12)), path) == (8, 12)
    with pytest.raises(DatasetError, match=r"labeled at 12x8 .* has 8x12: is it another image"):
        checked_size(annotated("a.png", (12, 8)), path)
    with pytest.raises(DatasetError, match=r"a.bmp: images are read as .png"):
        checked_size(annotated("a.bmp"), tmp_path / "a.bmp")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError, match=r"a.png is truncated or damaged"):
        checked_size(annotated("a.png"), path)


def test_an_image_that_was_labeled_turned_is_refused_with_the_command(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 8)).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(DatasetError, match=r"EXIF orientation 6, .*exif_transpose"):
        checked_size(annotated("a.jpg", (12, 8)), tmp_path / "a.jpg")
    assert checked_size(annotated("a.jpg", (8, 12)), tmp_path / "a.jpg") == (8, 12)
