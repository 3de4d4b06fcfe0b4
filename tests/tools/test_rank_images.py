from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from tools import rank_images
from tools.rank_images import load, uncertainty_maps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of several sizes."""
    path, rng = tmp_path_factory.mktemp("unlabeled"), np.random.default_rng(0)
    for i, size in enumerate([(64, 96), (40, 60), (64, 64), (96, 48)]):
        cv2.imwrite(str(path / f"{i}.png"), rng.integers(0, 256, (*size, 3), np.uint8))
    return path


def run(snapshot: Path, out: Path, *flags: object) -> int:
    return rank_images.main(["--snapshot", str(snapshot), "--precision", "fp32", "--out", str(out),
                             *map(str, flags)])


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "ranking.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_images_are_ranked_by_their_mean_uncertainty(two_snapshots: tuple[Path, Path],
                                                     folder: Path, tmp_path: Path) -> None:
    first, second = two_snapshots
    for by in rank_images.UNCERTAINTIES:
        assert run(first, tmp_path / by, "--input", folder, "--compare", second, "--by", by) == 0
        table = rows(tmp_path / by)
        assert [row["rank"] for row in table] == ["1", "2", "3", "4"]
        values = [float(row[by]) for row in table]
        assert values == sorted(values, reverse=True)
        assert all(0 <= value <= 1 for value in values)
    args = rank_images.build_parser().parse_args(
        ["--snapshot", str(first), "--compare", str(second), "--precision", "fp32", "--input", "x",
         "--out", "y"])
    options = rank_images.Options.from_args(args)
    assert options.by == "disagreement"
    maps = uncertainty_maps(load(options), datasets.read_image(folder / "0.png"))
    row = next(row for row in rows(tmp_path / "entropy") if row["path"].endswith("0.png"))
    for name, values in maps.items():
        assert values.shape == (64, 96)
        assert float(row[name]) == pytest.approx(values.mean(), abs=1e-5)


def test_the_sheet_shows_the_first_images(snapshot: Path, folder: Path, tmp_path: Path) -> None:
    assert run(snapshot, tmp_path / "two", "--input", folder, "--top", 2) == 0
    assert run(snapshot, tmp_path / "all", "--input", folder) == 0
    two, four = (cv2.imread(str(tmp_path / name / "sheet.jpg")) for name in ("two", "all"))
    # two images and their maps are a row
    assert two.shape[1] == four.shape[1] > 4 * 320
    assert four.shape[0] > 1.9 * two.shape[0]
    assert list(rows(tmp_path / "two")[0]) == ["rank", "path", "entropy", "margin"]
    assert run(snapshot, tmp_path / "none", "--input", folder, "--top", 0) == 0
    assert not (tmp_path / "none/sheet.jpg").exists()


def test_what_cannot_be_ranked_is_named(snapshot: Path, folder: Path, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.png").write_bytes((folder / "0.png").read_bytes()[:900])
    good = folder / "1.png"
    assert run(snapshot, tmp_path / "out", "--input", good, tmp_path / "bad.png") == 1
    assert "bad.png is truncated" in capsys.readouterr().err
    assert len(rows(tmp_path / "out")) == 1
    assert run(snapshot, tmp_path / "out", "--input", tmp_path / "bad.png") == 2
    assert "none of the 1 images can be read" in capsys.readouterr().err
    assert run(snapshot, tmp_path / "out", "--input", "camera:0") == 2
    assert "camera:0 is a sequence of frames" in capsys.readouterr().err
    assert run(snapshot, tmp_path / "out", "--input", good, "--by", "disagreement") == 2
    assert "name the second one with --compare" in capsys.readouterr().err
