"""Writing street scenes: the layout, resuming, and refused folders."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from tools.make_streets import draw, writing
from tools.make_streets.__main__ import main
from tools.make_streets.writing import Scene, write_scene

SIZE = (32, 64)


def run(out: Path, *more: str) -> int:
    return main(["--out", str(out), "--train", "3", "--val", "2", "--size", "32x64", "--workers",
                 "1", *more])


def refuse(capsys: pytest.CaptureFixture[str], out: Path, message: str, *more: str) -> None:
    assert run(out, *more) == 2
    assert re.search(message, capsys.readouterr().err)


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes()
            for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture
def drawn(tmp_path):
    run(tmp_path / "streets")
    return tmp_path / "streets"


def test_the_layout_is_that_of_cityscapes(drawn):
    pairs = [("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")]
    expected = {f"{folder}/{split}/streets/streets_{number:06d}_000000_{kind}.png"
                for split, count in (("train", 3), ("val", 2)) for number in range(count)
                for folder, kind in pairs}
    assert set(files(drawn)) == expected | {"streets.json"}


@pytest.mark.parametrize("dataset", ["streets", "cityscapes"])
def test_the_reader_reads_what_was_drawn(drawn, dataset):
    data = datasets.build(dataset, drawn, "val")
    assert len(data) == 2
    image, label = draw(0, 3, SIZE)  # the second validation scene has the second odd index
    assert np.array_equal(data[1]["image"].permute(1, 2, 0).numpy(), image)
    assert np.array_equal(data[1]["label"].numpy(), datasets.spec("cityscapes").lookup[label])


def test_test_scenes_have_no_labels(drawn):
    before = files(drawn)
    run(drawn, "--test", "2")
    assert set(files(drawn)) - set(before) == {
        f"leftImg8bit/test/streets/streets_00000{number}_000000_leftImg8bit.png"
        for number in range(2)
    }
    data = datasets.build("streets", drawn, "test")
    assert not data.labeled and "label" not in data[0]
    run(drawn)  # leaves the test scenes alone
    assert len(datasets.build("streets", drawn, "test")) == 2


def test_splits_never_share_a_scene():
    indices = {split: {Scene(Path(), 0, SIZE, split, number).index for number in range(1000)}
               for split in ("train", "val", "test")}
    assert len(set.union(*indices.values())) == 3000
    assert {len(numbers) for numbers in indices.values()} == {1000}


def test_the_number_of_workers_changes_nothing(drawn, tmp_path):
    run(tmp_path / "other", "--workers", "2")
    assert files(tmp_path / "other") == files(drawn)
    assert not multiprocessing.active_children()


def test_an_interrupted_run_goes_on_and_redraws_the_unfinished_scene(drawn, monkeypatch, capsys):
    whole = files(drawn)
    unfinished = Scene(drawn, 0, SIZE, "train", 1)
    unfinished.image.replace(unfinished.image.with_name(unfinished.image.name + ".part"))
    Scene(drawn, 0, SIZE, "val", 1).label.unlink()
    redrawn = []
    monkeypatch.setattr(writing, "write_scene",
                        lambda scene: (redrawn.append(scene.index), write_scene(scene)))
    run(drawn)
    assert redrawn == [2, 3]
    assert files(drawn) == whole
    assert "2 drawn" in capsys.readouterr().out
    run(drawn)
    assert "all existed already" in capsys.readouterr().out


def test_an_interrupt_says_how_to_go_on_and_leaves_whole_files_only(tmp_path, monkeypatch, capsys):
    def interrupted(path: Path, data: bytes) -> int:
        if "val" in str(path):
            with path.open("wb") as file:
                file.write(data[:50])
            raise KeyboardInterrupt
        return write_bytes(path, data)

    write_bytes = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", interrupted)
    assert run(tmp_path / "streets") == 130
    assert "run the same command again" in capsys.readouterr().err
    for path in (tmp_path / "streets").rglob("*.png"):
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[:2] == SIZE
    monkeypatch.undo()
    run(tmp_path / "streets")
    assert len(list((tmp_path / "streets").rglob("*.png"))) == 10
    assert not list((tmp_path / "streets").rglob("*.part"))


def test_more_scenes_are_added_to_a_folder(drawn):
    before = files(drawn)
    run(drawn, "--train", "5")
    after = files(drawn)
    assert len(after) == len(before) + 4
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(("flags", "message"),
                         [(("--size", "48x64"), "height 32 instead of 48.*another --out"),
                          (("--seed", "1"), "seed 0 instead of 1"),
                          (("--train", "2"),
                           "holds 1 train scenes more than --train 2.*--train 3")])
def test_a_folder_with_other_scenes_is_refused(drawn, flags, message, capsys):
    before = files(drawn)
    refuse(capsys, drawn, message, *flags)
    assert files(drawn) == before


def test_scenes_of_another_version_are_refused(drawn, capsys):
    manifest = drawn / "streets.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 0}))
    refuse(capsys, drawn, "version 0 instead of")


def test_a_damaged_manifest_is_named(drawn, capsys):
    (drawn / "streets.json").write_text("{")
    refuse(capsys, drawn, r"streets\.json cannot be read")


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("")
    refuse(capsys, tmp_path, r"not empty and holds no streets\.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    refuse(capsys, tmp_path / "file" / "streets", r"cannot write in .*file.*give --out a folder")


def test_a_disk_without_room_is_told_before_any_drawing(tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_000_000))
    refuse(capsys, tmp_path / "streets",
           r"5 scenes of 512x1024 need about 7 MB .* 2 MB free: free some space", "--size",
           "512x1024")
    assert not list((tmp_path / "streets").rglob("*.png"))


def test_a_disk_that_fills_up_is_told(tmp_path, monkeypatch, capsys):
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    refuse(capsys, tmp_path / "streets", r"the disk is full at .*\.part: free some space and run")


@pytest.mark.parametrize(("flags", "message"),
                         [(("--size", "8x64"), "at least 16x16 pixels, not 8x64"),
                          (("--size", "wide"), "'wide' is not a size"),
                          (("--train", "0"), "'0' is not a whole number of at least 1"),
                          (("--seed", "-1"), "'-1' is not a whole number of at least 0"),
                          (("--worker", "2"), "did you mean '--workers'")])
def test_flags_out_of_range_are_refused(tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit):
        run(tmp_path / "streets", *flags)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "streets").exists()
