from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.demo.conftest import picture
from tools.demo.inputs import find_inputs


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    files = [picture(tmp_path / name) for name in ("a.png", "a.jpg")]
    assert find_inputs(map(str, [*files, files[0]])) == {"a": files[0], "a_": files[1]}


@pytest.mark.parametrize(("files", "message"),
                         [(["notes.txt"],
                           r"holds no image \(.png .jpg .jpeg .webp\) and no video .*"
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
