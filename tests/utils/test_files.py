"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from utils import files


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail() -> None:
        with files.replacing(path, tmp_path / "a.tmp") as file:
            file.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_made_is_named_with_its_flag(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a/b", "--out")
    files.make_folder(tmp_path / "a/b", "--out")
    assert (tmp_path / "a/b").is_dir()
    (tmp_path / "file").touch()
    for folder, reason in ((tmp_path / "file", "File exists"),
                           (tmp_path / "file/b", "Not a directory")):
        with pytest.raises(OSError) as error:
            files.make_folder(folder, "--out")
        assert str(error.value) == f"--out {folder} cannot be made ({reason}): name another folder"


def test_a_folder_is_no_file_for_output(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError, match=r"a is a folder: name a file"):
        files.write_text(tmp_path / "a", "")
    with pytest.raises(IsADirectoryError, match=r"^--json .*a is a folder"):
        files.require_no_folder(tmp_path / "a", "--json")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_only_an_empty_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").touch()
    for name in "abc":
        files.remove_if_empty(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_damaged_record_is_named_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "env.json"
    assert files.read_record(path) == {}
    path.write_text('{"commit": "abc"}')
    assert files.read_record(path) == {"commit": "abc"}
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(ValueError,
                           match=r"env\.json is damaged \(.*\): copy it again, or remove"):
            files.read_record(path)


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "Ångström")
    assert (tmp_path / "a.txt").read_bytes() == "Ångström".encode()


def test_a_link_is_replaced_by_another_target(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        files.link_or_copy(tmp_path / "best.pth", tmp_path / name)
    assert (tmp_path / "best.pth").read_text() == "b"


def test_the_checksum_of_a_long_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192  # two blocks of 1 MiB
    (tmp_path / "a").write_bytes(data)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_text_between_two_lines_is_replaced_and_the_lines_stay() -> None:
    document = "head\n<begin>\nold\n<end>\ntail\n"
    renewed = files.replace_between(document, "<begin>", "<end>", "new")
    assert renewed == "head\n<begin>\nnew\n<end>\ntail\n"
    with pytest.raises(ValueError, match="add the lines <end> and <begin>"):
        files.replace_between(document, "<end>", "<begin>", "new")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_flush_still_gets_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "fsync", refuse)
    files.write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_disk_that_fails_to_flush_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        files.write_text(tmp_path / "a.txt", "whole")


def test_without_hard_links_the_link_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("a")
    files.link_or_copy(tmp_path / "last.pth", tmp_path / "a")
    assert (tmp_path / "last.pth").read_text() == "a"


def test_a_git_difference_that_is_not_utf_8_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for content in (b"caf\xe9 1\n", b"caf\xe9 2\n"):  # latin-1
        (tmp_path / "a.txt").write_bytes(content)
        if not (tmp_path / ".git").exists():
            subprocess.run([*git, "init", "-q"], check=True)
            subprocess.run([*git, "add", "."], check=True)
            subprocess.run([*git, "commit", "-q", "-m", "a"], check=True)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert r"+caf\xe9 2" in (files.git_output("diff", "HEAD") or "")


def test_the_users_cache_folder_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert files.cache_folder() == Path("/somewhere/sfsegnets")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert files.cache_folder() == Path("/home/me/.cache/sfsegnets")


def test_a_user_without_a_home_folder_gets_a_temporary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert files.cache_folder() == Path(tempfile.gettempdir()) / "sfsegnets"
