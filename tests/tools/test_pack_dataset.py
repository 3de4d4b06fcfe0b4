"""tools.pack_dataset: continues after every interruption, and refuses folders of other data."""

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from datasets.packed import JOURNAL, LOCK, MANIFEST, PAIRS
from tests import packs
from tests.packs import flags
from tools import pack_dataset
from utils.locks import locked

ROOT = Path(pack_dataset.__file__).parents[1]


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return packs.write_camvid(tmp_path / "camvid")


@pytest.fixture
def out(camvid: Path, tmp_path: Path) -> Path:
    return packs.write_pack(camvid, tmp_path / "pack")


def test_size_and_gain_are_told_beforehand(camvid: Path, tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert pack_dataset.main(flags(camvid, tmp_path / "pack", "--dry_run")) == 0
    message = capsys.readouterr().out
    assert ("6 of 6 pairs to pack: about 0.01 MB" in message
            and "ms from the files; from the pack" in message)
    assert not (tmp_path / "pack").exists()


def test_a_folder_that_cannot_be_made_is_named_with_its_flag(
        camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    assert pack_dataset.main(flags(camvid, file / "pack")) == 2
    assert f"--out {file}/pack/{PAIRS} cannot be made (Not a directory)" in capsys.readouterr().err


def test_a_second_run_has_nothing_to_do(camvid: Path, out: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_dataset.PairWriter, "write",
                        lambda self, index: pytest.fail("packed again"))
    assert pack_dataset.main(flags(camvid, out)) == 0


def stop_after(monkeypatch: pytest.MonkeyPatch, pairs: int, error: BaseException) -> None:
    write, done = pack_dataset.PairWriter.write, []

    def failing(self: pack_dataset.PairWriter, index: int) -> object:
        if len(done) == pairs:
            (self.out / PAIRS / f"{index:06d}.raw.part").write_bytes(b"half")
            raise error
        done.append(index)
        return write(self, index)

    monkeypatch.setattr(pack_dataset.PairWriter, "write", failing)


@pytest.mark.parametrize(("error", "status", "message"),
                         [(OSError(errno.ENOSPC, "No space left on device"), 2,
                           "the disk is full at .*after 3 of 6 pairs.*continues where it"),
                          (OSError(errno.EIO, "Input/output error"), 2, "Input/output error"),
                          (KeyboardInterrupt(), 130,
                           "stopped at once; run the same command again, which continues")],
                         ids=["disk full", "disk broken", "interrupted"])
def test_a_stopped_pack_is_not_used_and_goes_on(camvid: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch,
                                                capfd: pytest.CaptureFixture[str],
                                                error: BaseException, status: int,
                                                message: str) -> None:
    out = tmp_path / "pack"
    with monkeypatch.context() as patch:
        stop_after(patch, 3, error)
        assert pack_dataset.main(flags(camvid, out)) == status
    assert re.search(message, capfd.readouterr().err)
    with pytest.raises(datasets.DatasetError, match="is not finished: run the same"):
        datasets.build("camvid", camvid, "train", packed=out)
    with (out / JOURNAL).open("a") as journal:
        journal.write('{"index": 3, "ent')  # as a crash in the middle of a line leaves it
    assert pack_dataset.main(flags(camvid, out)) == 0
    assert "3 of 6 pairs to pack" in capfd.readouterr().out
    assert sorted(path.name for path in (out / PAIRS).iterdir()) == [f"{index:06d}.raw"
                                                                     for index in range(6)]
    assert pack_dataset.main(flags(camvid, out, "--verify")) == 0


def test_a_folder_that_another_run_packs_into_is_refused(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pack"
    out.mkdir()
    with locked(out / LOCK, "in use"):
        assert pack_dataset.main(flags(camvid, out)) == 2
    assert "another tools.pack_dataset is writing" in capsys.readouterr().err
    assert not (out / JOURNAL).exists()
    assert pack_dataset.main(flags(camvid, out)) == 0


def test_the_command_that_trains_from_a_pack_can_be_pasted(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a pack"
    assert pack_dataset.main(flags(camvid, out)) == 0
    assert shlex.split(capsys.readouterr().out)[-1] == str(out)


def test_a_killed_pack_goes_on(tmp_path: Path, camvid: Path) -> None:
    rng, out = np.random.default_rng(1), tmp_path / "pack"
    for number in range(10, 60):
        cv2.imwrite(str(camvid / f"train/{number}.png"),
                    rng.integers(0, 256, (300, 300, 3), dtype=np.uint8))
        cv2.imwrite(str(camvid / f"trainannot/{number}.png"), np.zeros((300, 300), np.uint8))
    command = [sys.executable, "-m", "tools.pack_dataset", *flags(camvid, out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / JOURNAL).exists() or len((out / JOURNAL).read_text().splitlines()) < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / MANIFEST).exists()
    assert pack_dataset.main(flags(camvid, out)) == 0
    assert pack_dataset.main(flags(camvid, out, "--verify")) == 0


def test_too_small_a_disk_is_refused_before_anything_is_written(
    camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pack_dataset.shutil, "disk_usage",
                        lambda path: type("Usage", (), {"free": 1000}))
    assert pack_dataset.main(flags(camvid, tmp_path / "pack")) == 2
    assert "free and the pack needs about" in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


def touch_image(camvid: Path, out: Path) -> None:
    path = camvid / "train/2.png"
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def add_image(camvid: Path, out: Path) -> None:
    for folder, channels in (("train", 3), ("trainannot", 1)):
        cv2.imwrite(str(camvid / folder / "9.png"), np.zeros((8, 8, channels), np.uint8))


def rename_image(camvid: Path, out: Path) -> None:
    for folder in ("train", "trainannot"):
        (camvid / folder / "5.png").rename(camvid / folder / "7.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda camvid, out: packs.truncate_pair(out),
            r"000002\.raw is truncated or damaged \(767 of 768 bytes\)",
        ),
        (
            lambda camvid, out: packs.remove_pair(out),
            r"000004\.raw is truncated or damaged \(0 of 256 bytes\)",
        ),
        (
            touch_image,
            r"other files than those of CamVid .*\(1 of 6 pairs; .*train/2\.png was written again",
        ),
        (add_image, "belongs to other files .*6 pairs then, 7 now"),
        (rename_image, r"for example train/5\.png then, train/7\.png now"),
    ],
)
def test_a_pack_that_does_not_fit_is_refused_and_mended_by_packing_again(
    camvid: Path,
    out: Path,
    spoil: Callable[[Path, Path], None],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(camvid, out)
    with pytest.raises(datasets.DatasetError, match=message):
        datasets.build("camvid", camvid, "train", packed=out)
    assert pack_dataset.main(flags(camvid, out)) == 0
    assert "1 of " in capsys.readouterr().out.splitlines()[-2]
    assert len(datasets.build("camvid", camvid, "train", packed=out).source.entries) >= 6


def test_a_changed_byte_is_found_by_verifying(camvid: Path, out: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    path = out / PAIRS / "000001.raw"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert pack_dataset.main(flags(camvid, out, "--verify")) == 1
    assert "000001.raw is truncated or damaged (its checksum differs)" in capsys.readouterr().out


def test_a_folder_that_is_no_pack_is_refused(camvid: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(datasets.DatasetError,
                       match=r"absent holds no pack\.json: create it with: python -m"):
        datasets.build("camvid", camvid, "train", packed=tmp_path / "absent")
    (tmp_path / "net.pth").touch()
    for out in (camvid, tmp_path / "net.pth"):
        assert pack_dataset.main(flags(camvid, out)) == 2
        assert "does not hold a pack but other files" in capsys.readouterr().err


def test_a_damaged_image_stops_packing_with_its_own_words(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (camvid / "train/5.png").write_bytes(b"")
    assert pack_dataset.main([*flags(camvid, tmp_path / "pack"), "--num_workers", "2"]) == 2
    assert "5.png is truncated or damaged" in capsys.readouterr().err
