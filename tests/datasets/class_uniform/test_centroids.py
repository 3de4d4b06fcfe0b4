"""Class centroids: nearest to the center of mass, in each tile, shared by processes."""

import os
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

import datasets
from datasets.class_uniform.centroid_cache import CentroidCache
from datasets.class_uniform.centroids import class_centroids, find_centroids
from tests.process_groups import start_program

ROOT = Path(__file__).resolve().parents[3]
WriteCamvid = Callable[..., Path]


def by_definition(label: np.ndarray, tile: int, num_classes: int) -> list[tuple[int, int, int]]:
    """Every pixel of every class against its center of mass, tile after tile."""
    centroids = []
    for top in range(0, label.shape[0], tile):
        for left in range(0, label.shape[1], tile):
            part = label[top : top + tile, left : left + tile]
            for train_id in range(num_classes):
                rows, columns = np.nonzero(part == train_id)
                if len(rows):
                    squares = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
                    best = squares.round(6).argmin()
                    centroids.append((train_id, left + int(columns[best]), top + int(rows[best])))
    return centroids


def rings(size: tuple[int, int]) -> np.ndarray:
    """Classes in rings around the middle, so that every center of mass lies beside its class."""
    y, x = np.indices(size)
    return (np.hypot(y - size[0] / 2, x - size[1] / 2) // 9 % 6).astype(np.uint8)


@pytest.mark.parametrize("tile", [1, 7, 32, 64, 1000])
@pytest.mark.parametrize("size", [(60, 90), (65, 64), (1, 40), (40, 1)])
def test_centroids_are_those_of_the_definition(size: tuple[int, int], tile: int) -> None:
    rng = np.random.default_rng(0)
    blocks = cv2.resize(
        rng.integers(0, 8, (9, 11), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST
    )
    noise = np.where(rng.random(size) < 0.02, 255, rng.integers(0, 6, size)).astype(np.uint8)
    for label in (blocks, noise, rings(size)):
        assert [tuple(row) for row in class_centroids(label, tile, 6).tolist()] == by_definition(
            label, tile, 6
        )


def test_a_centroid_of_a_ring_lies_on_the_ring() -> None:
    label = np.zeros((200, 300), np.uint8)
    cv2.circle(label, (150, 100), 80, 3, thickness=4)
    (_, (train_id, x, y)) = class_centroids(label, 1024, 5).tolist()
    assert (train_id, label[y, x]) == (3, 3)
    assert 77 <= np.hypot(x - 150, y - 100) <= 78  # the inner edge


def test_the_map_is_covered_to_its_last_pixel() -> None:
    label = np.full((130, 100), 255, np.uint8)
    label[129, 99] = 2  # in the remainder of both axes
    assert class_centroids(label, 64, 5).tolist() == [[2, 99, 129]]
    assert class_centroids(label[:1, :1], 64, 5).tolist() == []  # nothing but ignored pixels


def build(root: Path) -> datasets.SegmentationDataset:
    return datasets.build("camvid", root, "train")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_all_labels_are_gone_through_in_order(
    write_camvid: WriteCamvid, tmp_path: Path, num_workers: int
) -> None:
    data = build(write_camvid(count=5))
    rows = find_centroids(data, 8, num_workers, tmp_path / "cache").tolist()
    expected = [
        [image, *row]
        for image in range(5)
        for row in class_centroids(data.label(image), 8, 11).tolist()
    ]
    assert rows == expected


def test_a_second_start_reads_no_label(
    write_camvid: WriteCamvid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = build(write_camvid())
    first = find_centroids(data, 8, 0, tmp_path / "cache")
    monkeypatch.setattr(
        datasets.SegmentationDataset, "label", lambda *args: pytest.fail("a label was read")
    )
    assert np.array_equal(find_centroids(data, 8, 0, tmp_path / "cache"), first)
    assert len([*(tmp_path / "cache").iterdir()]) == 1  # and nothing unfinished lies beside


def test_a_damaged_label_is_named(write_camvid: WriteCamvid, tmp_path: Path) -> None:
    root = write_camvid()
    (root / "trainannot/train_1.png").write_bytes(b"")
    with pytest.raises(datasets.DatasetError, match=r"train_1\.png is truncated or damaged"):
        find_centroids(build(root), 8, 1, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_label_may_be_skipped_but_the_rest_is_not_kept(
    write_camvid: WriteCamvid, tmp_path: Path, num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_camvid()
    (root / "trainannot/train_1.png").write_bytes(b"")
    rows = find_centroids(build(root), 8, num_workers, tmp_path / "cache", skip_bad=True)
    assert {*rows[:, 0].tolist()} == {0, 2, 3}
    assert (
        "skipped, no crop is drawn around its classes" in caplog.text
        and "train_1.png is truncated" in caplog.text
    )
    assert not (tmp_path / "cache").exists()


def _share_the_pass(rank: int, root: Path, cache: Path, out: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{out / 'meet'}", rank=rank, world_size=2)
    written = []
    write = CentroidCache.write

    def recording_write(self: CentroidCache, rows: np.ndarray) -> None:
        written.append(rank)
        write(self, rows)

    CentroidCache.write = recording_write  # type: ignore[method-assign]
    data = build(root)
    rows = find_centroids(data, 8, 0, cache)
    again = find_centroids(data, 8, 0, cache)
    assert written == [0] * (rank == 0)
    assert np.array_equal(rows, again)
    np.save(out / f"{rank}.npy", rows)
    dist.destroy_process_group()


def test_processes_share_the_pass_and_the_main_one_writes(
    write_camvid: WriteCamvid, tmp_path: Path
) -> None:
    root, out = write_camvid(count=5), tmp_path / "out"
    out.mkdir()
    mp.spawn(_share_the_pass, (root, tmp_path / "cache", out), nprocs=2)
    alone = find_centroids(build(root), 8, 0, tmp_path / "other_cache")
    assert np.array_equal(np.load(out / "0.npy"), alone)
    assert np.array_equal(np.load(out / "1.npy"), alone)


def test_ctrl_c_stops_the_pass_and_leaves_nothing_behind(
    write_camvid: WriteCamvid, tmp_path: Path
) -> None:
    program = textwrap.dedent("""
        import pathlib, signal, sys, time
        import datasets
        from datasets.class_uniform import centroids
        # background jobs of a shell start without this handler
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def track(items, *args, **kwargs):
            for done, item in enumerate(items):
                yield item
                if done == 2:
                    print("working", flush=True)
                    time.sleep(60)
        centroids.track = track
        try:
            data = datasets.build("camvid", sys.argv[1], "train")
            centroids.find_centroids(data, 8, 2, pathlib.Path(sys.argv[2]))
        except KeyboardInterrupt:
            sys.exit(130)
    """)
    process = start_program(program, str(write_camvid(count=40)), str(tmp_path / "cache"),
                            first_line="working")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert not (tmp_path / "cache").exists()
