"""Batches from worker processes: reproducible, with readable errors and clean interruption."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import datasets
import datasets.loader
import transforms
from datasets.loader import default_workers
from tests.process_groups import start_program, wait_until_gone

ROOT = Path(__file__).resolve().parents[2]
WriteCamvid = Callable[..., Path]


def build(root: Path) -> datasets.SegmentationDataset:
    transform, _ = transforms.build(transforms.TransformOptions((8, 10)))
    return datasets.build("camvid", root, "train", transform)


def sampler_of(data: datasets.SegmentationDataset, batch_size: int = 2) -> datasets.EpochSampler:
    return datasets.EpochSampler(datasets.EpochPlan(len(data), seed=3), batch_size)


def epoch_of(
    loader: torch.utils.data.DataLoader, sampler: datasets.EpochSampler, epoch: int, step: int = 0
) -> list[dict]:
    sampler.set_position(epoch, step)
    return list(loader)


def assert_equal(ours: list[dict], theirs: list[dict]) -> None:
    assert [batch["name"] for batch in ours] == [batch["name"] for batch in theirs]
    for key in ("image", "label"):
        assert all(
            torch.equal(first[key], second[key]) for first, second in zip(ours, theirs, strict=True)
        )


def test_a_batch_is_uint8_with_names(write_camvid: WriteCamvid) -> None:
    data = build(write_camvid())
    batch = next(iter(datasets.train_loader(data, sampler_of(data), num_workers=0)))
    assert tuple(batch["image"].shape) == (2, 3, 8, 10)
    assert tuple(batch["label"].shape) == (2, 8, 10)
    assert batch["image"].dtype == batch["label"].dtype == torch.uint8
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert {*batch["name"]} < {f"train_{number}" for number in range(4)}


def test_batches_do_not_depend_on_the_number_of_workers(write_camvid: WriteCamvid) -> None:
    data = build(write_camvid(count=7))
    alone = sampler_of(data)
    expected = [
        epoch_of(datasets.train_loader(data, alone, num_workers=0), alone, epoch)
        for epoch in (0, 1)
    ]
    shared = sampler_of(data)
    loader = datasets.train_loader(data, shared, num_workers=2)
    for epoch in (0, 1):  # the second with the workers of the first
        assert_equal(epoch_of(loader, shared, epoch), expected[epoch])
    assert_equal(epoch_of(loader, shared, epoch=1, step=2), expected[1][2:])
    assert not torch.equal(expected[0][0]["image"], expected[1][0]["image"])


def test_what_is_left_to_the_device_does_not_depend_on_workers_or_ranks(
    write_camvid: WriteCamvid,
) -> None:
    transform, color = transforms.build(transforms.TransformOptions((8, 10), augment_on="device"))
    assert color is not None
    data = datasets.build("camvid", write_camvid(count=8), "train", transform, extras=color.draw)
    plan = datasets.EpochPlan(len(data), seed=3)
    alone, shared = (
        list(datasets.train_loader(data, datasets.EpochSampler(plan, 4), workers))
        for workers in (0, 2)
    )
    halves = [
        list(datasets.train_loader(data, datasets.EpochSampler(plan, 2, rank, 2), 0))
        for rank in (0, 1)
    ]
    for ours, theirs, first, second in zip(alone, shared, *halves, strict=True):
        for name in ("image", "color", "blur"):
            assert torch.equal(ours[name], theirs[name])
            assert torch.equal(ours[name], torch.cat([first[name], second[name]]))
    assert tuple(alone[0]["color"].shape) == (4, 3, 4)
    assert len({float(value) for batch in alone for value in batch["blur"]}) > 2


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_workers_may_start_in_every_way(write_camvid: WriteCamvid, start_method: str) -> None:
    data = build(write_camvid())
    sampler = sampler_of(data)
    ours = epoch_of(
        datasets.train_loader(data, sampler, num_workers=1, start_method=start_method),
        sampler,
        epoch=0,
    )
    assert_equal(
        ours, epoch_of(datasets.train_loader(data, sampler, num_workers=0), sampler, epoch=0)
    )


def test_ranks_share_the_batch_that_one_process_would_have(write_camvid: WriteCamvid) -> None:
    data = build(write_camvid(count=8))
    plan = datasets.EpochPlan(len(data), seed=3)
    alone = list(datasets.train_loader(data, datasets.EpochSampler(plan, 4), num_workers=0))
    samplers = [datasets.EpochSampler(plan, 2, rank, world_size=2) for rank in (0, 1)]
    first, second = (datasets.train_loader(data, sampler, num_workers=0) for sampler in samplers)
    for batch, ours, theirs in zip(alone, first, second, strict=True):
        assert torch.equal(batch["image"], torch.cat([ours["image"], theirs["image"]]))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_gives_every_image_once_in_order(
    write_camvid: WriteCamvid, num_workers: int
) -> None:
    root = write_camvid(count=5)
    for folder, channels in (("val", 3), ("valannot", 1)):
        cv2.imwrite(str(root / folder / "val_3.png"), np.zeros((6, 20, channels), np.uint8))
    data = datasets.build("camvid", root, "val")
    batches = list(datasets.eval_loader(data, num_workers))
    assert [batch["name"] for batch in batches] == [[f"val_{index}"] for index in range(5)]
    assert tuple(batches[3]["image"].shape) == (1, 3, 6, 20)
    share = datasets.eval_loader(data, num_workers, indices=range(1, 5, 2))
    assert [batch["name"] for batch in share] == [["val_1"], ["val_3"]]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_in_a_worker_keeps_its_words(write_camvid: WriteCamvid, num_workers: int) -> None:
    root = write_camvid()
    (root / "train/train_0.png").write_bytes(b"")
    data = build(root)
    with pytest.raises(
        datasets.DatasetError, match=r"^\S*train_0\.png is truncated or damaged: .* again\.$"
    ):
        list(datasets.train_loader(data, sampler_of(data), num_workers))


def test_images_of_several_sizes_in_a_batch_are_refused(write_camvid: WriteCamvid) -> None:
    root = write_camvid(count=2)
    for folder, channels in (("train", 3), ("trainannot", 1)):
        cv2.imwrite(str(root / folder / "train_1.png"), np.zeros((6, 8, channels), np.uint8))
    data = datasets.build("camvid", root, "train")
    with pytest.raises(
        datasets.DatasetError, match=r"several sizes cannot share.*train_1 is 6x8.*--crop_size"
    ):
        list(datasets.train_loader(data, sampler_of(data), num_workers=0))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loading_draws_nothing_from_the_networks_generator(
    write_camvid: WriteCamvid, num_workers: int
) -> None:
    data = build(write_camvid())
    before = torch.get_rng_state()
    list(datasets.train_loader(data, sampler_of(data), num_workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_of_a_host_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(32), raising=False)
    assert default_workers() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert default_workers() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(1), raising=False)
    assert default_workers() == 1


def test_ctrl_c_reaches_the_main_process_alone(write_camvid: WriteCamvid) -> None:
    program = textwrap.dedent("""
        import signal, sys, time
        import datasets
        # background jobs of a shell start without this handler
        signal.signal(signal.SIGINT, signal.default_int_handler)
        data = datasets.build("camvid", sys.argv[1], "train")
        sampler = datasets.EpochSampler(datasets.EpochPlan(len(data)), 2)
        loader = datasets.train_loader(data, sampler, num_workers=2)
        iterator = iter(loader)
        next(iterator)
        try:
            print("loading", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            next(iterator)                                  # the workers still serve
            sys.exit(130)
    """)
    process = start_program(program, str(write_camvid()), first_line="loading")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    with pytest.raises(ProcessLookupError):  # no worker is left in the process group
        os.killpg(process.pid, 0)


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_signals_while_workers_start_reach_the_main_process_alone(
    write_camvid: WriteCamvid, start_method: str
) -> None:
    program = textwrap.dedent("""
        import multiprocessing, os, signal, subprocess, sys
        import datasets
        came = []
        watched = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
        for number in watched:
            signal.signal(number, lambda number, frame: came.append(number))
        data = datasets.build("camvid", sys.argv[1], "train")
        sampler = datasets.EpochSampler(datasets.EpochPlan(len(data)), 2)
        loader = datasets.train_loader(data, sampler, num_workers=2, start_method=sys.argv[2])
        start = multiprocessing.Process.start
        def start_and_signal_all(process):
            start(process)
            for number in watched:
                # by another process: workers obey SIGTERM of the main process
                subprocess.run(["sh", "-c", f"kill -{number:d} -{os.getpgrp()}"], check=True,
                               start_new_session=True)
        multiprocessing.process.BaseProcess.start = start_and_signal_all
        batches = list(loader)
        sys.exit(0 if len(batches) == len(sampler) and len(set(came)) == 3 else 1)
    """)
    process = subprocess.run(
        [sys.executable, "-c", program, str(write_camvid()), start_method],
        cwd=ROOT,
        text=True,
        capture_output=True,
        start_new_session=True,
        timeout=60,
    )
    assert (process.returncode, process.stderr) == (0, "")


# as Python ends daemonic processes, and torch those that do not end in time
TERMINATE = "for child in multiprocessing.active_children(): child.terminate(); child.join()"
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(("kind", "start_method", "ending", "code"), [
    ("train", "fork", "del batches; sys.exit(143)", 143),
    ("train", "fork", TERMINATE, 0),
    ("train", "fork", KILL, -9),
    ("train", "spawn", TERMINATE, 0),
    ("train", "forkserver", TERMINATE, 0),
    ("train", "forkserver", KILL, -9),
    ("eval", "fork", "raise ValueError", 1),
])
def test_sigterm_leaves_workers_alive_until_the_main_process_ends(
    write_camvid: WriteCamvid, kind: str, start_method: str, ending: str, code: int
) -> None:
    program = textwrap.dedent("""
        import multiprocessing, os, signal, sys, time
        import datasets
        _, root, kind, start_method, ending = sys.argv
        came = []
        signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
        data = datasets.build("camvid", root, "train")
        sampler = datasets.EpochSampler(datasets.EpochPlan(len(data)), 1)
        if kind == "train":
            loader = datasets.train_loader(data, sampler, 2, start_method)
        else:
            multiprocessing.set_start_method(start_method)
            loader = datasets.eval_loader(data, 2)
        batches = iter(loader)
        next(batches)
        print("loading", flush=True)
        while not came:
            time.sleep(0.05)
        # torch raises an error here if a worker has died
        time.sleep(0.5)
        assert len(multiprocessing.active_children()) == 2
        next(batches)
        print("loaded", flush=True)
        exec(ending)
    """)
    process = start_program(program, str(write_camvid()), kind, start_method, ending,
                            first_line="loading")
    os.killpg(process.pid, signal.SIGTERM)
    # until no process has the pipe open
    output, _ = process.communicate(timeout=40)
    assert (process.returncode, output) == (code, "loaded\n")
    wait_until_gone(process.pid)


# images that go away or are damaged during a run


def skipping(
    root: Path, num_workers: int = 0
) -> tuple[datasets.EpochSampler, datasets.loader.BatchLoader]:
    data = build(root)
    sampler = sampler_of(data)
    return sampler, datasets.train_loader(data, sampler, num_workers, skip_bad=True)


def test_another_image_takes_the_place_of_a_damaged_one(
    write_camvid: WriteCamvid, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_camvid(count=6)
    sampler, loader = skipping(root)
    before = [epoch_of(loader, sampler, epoch) for epoch in (0, 1)]
    (root / "train/train_1.png").write_bytes(b"")
    (root / "trainannot/train_4.png").unlink()
    after = [epoch_of(loader, sampler, epoch) for epoch in (0, 1)]
    for ours, theirs in zip(chain(*after), chain(*before), strict=True):
        assert len(ours["name"]) == 2
        for place, name in enumerate(theirs["name"]):
            if name in ("train_1", "train_4"):
                assert ours["name"][place] not in ("train_1", "train_4")
            else:  # the others are drawn as if nothing had happened
                assert torch.equal(ours["image"][place], theirs["image"][place])
    assert "skipped" not in ours
    assert max(loader.skipped.values()) >= 2
    assert loader.skipped.total() >= 4
    messages = [record.message for record in caplog.records]
    assert sum("train_1.png is truncated or damaged" in message for message in messages) == 1
    assert sum("train_4.png cannot be read" in message for message in messages) == 1


def test_what_takes_its_place_does_not_depend_on_workers_or_restarts(
    write_camvid: WriteCamvid,
) -> None:
    root = write_camvid(count=6)
    for number in (1, 3):
        (root / f"train/train_{number}.png").write_bytes(b"")
    alone, shared = skipping(root), skipping(root, num_workers=2)
    for epoch in (0, 1):
        expected = epoch_of(alone[1], alone[0], epoch)
        assert_equal(epoch_of(shared[1], shared[0], epoch), expected)
        assert_equal(epoch_of(alone[1], alone[0], epoch, step=1), expected[1:])


def test_a_disk_that_went_away_stops_even_who_skips(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    sampler, loader = skipping(root)
    (root / "train").rename(root / "gone")
    with pytest.raises(
        datasets.DatasetError, match=r"^11 images in a row cannot be used, .*train_\d\.png cannot"
    ):
        epoch_of(loader, sampler, 0)


def test_ids_that_the_table_does_not_name_are_never_skipped(write_camvid: WriteCamvid) -> None:
    root = write_camvid()
    sampler, loader = skipping(root)
    cv2.imwrite(str(root / "trainannot/train_2.png"), np.full((12, 16), 77, np.uint8))
    with pytest.raises(datasets.DatasetError, match=r"train_2\.png holds ids"):
        epoch_of(loader, sampler, 0)


class Dying(torch.utils.data.Dataset[Any]):
    """Raises torch's error of a full shared memory, as storage.py does in a worker process."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_0>: No "
                           "space left on device (28)")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_worker_that_dies_names_the_remedy(num_workers: int) -> None:
    with pytest.raises(datasets.DatasetError, match=r"ran out of shared memory.*--num_workers 0.*"
                                                    r"--shm-size.*</torch_1_2_0>"):
        list(datasets.loader.load_items(Dying(), num_workers, range(2)))


def test_workers_that_cannot_start_name_the_remedy(
    write_camvid: WriteCamvid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot_start(loader: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", cannot_start)
    data = datasets.build("camvid", write_camvid(), "val")
    with pytest.raises(datasets.DatasetError, match=r"ran out of shared memory.*--shm-size"):
        list(datasets.eval_loader(data, num_workers=1))
