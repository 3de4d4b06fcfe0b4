from __future__ import annotations

from pathlib import Path

import pytest

from datasets.spec import DatasetError
from tools.import_labels.formats import FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_refuses_an_empty_folder_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        FORMATS[name].read(tmp_path, None, None)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("content", [b"", b"\x00\x01\xff", b"{}", b"<a/>", b"null", b"names: 3"])
def test_every_format_refuses_a_file_of_another_kind(name: str, content: bytes,
                                                     tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(DatasetError):
        FORMATS[name].read(path, None, None)
