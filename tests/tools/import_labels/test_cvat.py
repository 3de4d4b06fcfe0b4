from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.spec import DatasetError
from tools.import_labels.cvat import read

META = """<meta><task><labels><label><name>car</name><color>#0a0b0c</color></label>
<label><name>road</name></label></labels></task></meta>"""


def write(folder: Path, shapes: str, meta: str = META, image: str = "") -> Path:
    path = folder / "annotations.xml"
    path.write_text(f"<annotations><version>1.1</version>{meta}<image id='0' name='a.png' "
                    f"width='8' height='8' {image}>{shapes}</image></annotations>")
    return path


def test_every_kind_of_shape_is_read(folder: Path) -> None:
    path = write(folder, """
        <polygon label="road" points="0.0,0.0;4.0,0.0;4.0,8.0;0.0,8.0" z_order="1"/>
        <box label="car" xtl="1" ytl="2" xbr="3" ybr="5"/>
        <ellipse label="car" cx="4" cy="4" rx="2" ry="2" rotation="20"/>
        <mask label="car" rle="1, 2, 2, 1" left="3" top="4" width="3" height="2"/>
        <polyline label="road" points="0,0;1,1"/> <points label="road" points="0,0"/>
        <tag label="road"/>""", image="subset='Val'")
    annotations = read(path)
    assert annotations.classes == {"car": (10, 11, 12), "road": None}
    assert annotations.left_out == {"lines 'road'": 1, "points 'road'": 1}
    (image,) = annotations.images
    assert (image.file, image.size, image.split) == ("a.png", (8, 8), "val")
    shapes = image.load()
    windows = [shape.fill(8, 8)[0] for shape in shapes]
    assert [(shape.name, int(window.mask.sum())) for shape, window
            in zip(shapes, windows, strict=True)] == [("road", 32), ("car", 6), ("car", 12),
                                                      ("car", 3)]
    assert [shape.order for shape in shapes] == [1, 0, 0, 0]
    # the runs go along the rows of the mask's own 2x3 pixels
    assert windows[3][:2] == (4, 3)
    assert (windows[3].mask == np.array([[0, 1, 1], [0, 0, 1]], bool)).all()


def test_the_folder_of_an_export_and_labels_without_meta_are_read(folder: Path) -> None:
    write(folder, '<box label="bus" xtl="1" ytl="2" xbr="3" ybr="5"/>', meta="",
          image="subset='default'")
    annotations = read(folder)
    assert annotations.classes == {"bus": None}
    assert annotations.images[0].split == ""
    write(folder, "", image="subset='Default_2'")
    assert read(folder).images[0].split == "default_2"


def test_masks_are_not_kept_in_memory(folder: Path) -> None:
    path = write(folder, '<mask label="car" rle="1, 5" left="0" top="0" width="3" height="2"/>')
    (shape,) = read(path).images[0].load()
    assert shape.mask is not None
    assert shape.mask().mask is not shape.mask().mask


@pytest.mark.parametrize(("shapes", "message"), [
    ('<box label="car" xtl="1" ytl="2" xbr="3"/>', "image a.png .*'ybr' is missing"),
    ('<polygon label="car" points="1,2;3"/>', "image a.png"),
    ('<mask label="car" rle="1, 2" left="3" top="4" width="3" height="2"/>',
     "the runs add up to 3 pixels, but the mask has 6"),
    ('<star label="car"/>', "the shape <star> is unknown"),
    ("<polygon points='0,0;1,1;1,0'/>", "'label' is missing"),
])
def test_a_damaged_shape_is_named(folder: Path, shapes: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(write(folder, shapes))


@pytest.mark.parametrize(("text", "message"), [
    ("<annotation/>", "begins with <annotation>"),
    ("<annotations><track id='0'/></annotations>", "CVAT for video"),
    ("<annotations><image", "truncated"),
])
def test_another_file_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "annotations.xml").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read(folder)
