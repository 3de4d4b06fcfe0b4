from __future__ import annotations

from pathlib import Path

import pytest

from datasets.spec import DatasetError
from tools.import_labels import files


@pytest.mark.parametrize(("content", "message"), [
    (b'{"shapes": [', "not JSON, or truncated"),
    (b"[1, 2]", "holds no JSON object, but a list"),
    (b"\xff\xfe\x00", "not text in UTF-8"),
    (b"[" * 100_000, "not JSON, or truncated"),
])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes,
                                                  message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"a.json .*{message}"):
        files.read_json(path)


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert files.read_json(tmp_path / "a.json") == {"a": 1}


def test_truncated_xml_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotations><image")
    with pytest.raises(DatasetError, match=r"a.xml is not XML, or truncated"):
        files.read_xml(tmp_path / "a.xml")
    with pytest.raises(DatasetError, match=r"b.xml cannot be read \(No such file"):
        files.read_xml(tmp_path / "b.xml")


def test_hidden_files_are_left_out_and_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "._a.json").write_text("")
    with pytest.raises(DatasetError, match=r"holds no .json file"):
        files.files_in(tmp_path, ".json")
    (tmp_path / "a.json").write_text("")
    assert files.files_in(tmp_path, ".json") == [tmp_path / "a.json"]


def test_the_only_file_of_a_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("")
    assert files.only_file(tmp_path, (".xml",), "it") == tmp_path / "a.xml"
    assert files.only_file(tmp_path / "a.xml", (".xml",), "it") == tmp_path / "a.xml"
    (tmp_path / "b.xml").write_text("")
    with pytest.raises(DatasetError, match=r"name it \(found: a.xml, b.xml\)"):
        files.only_file(tmp_path, (".xml",), "it")
