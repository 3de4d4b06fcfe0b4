"""Eight processes, and sixteen, against one: the same images in each step, the same losses, equal
confusion matrices, and a run that goes on with half of its processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import train
from tools.make_streets import __main__ as make_streets

ROOT = Path(train.__file__).parent
STEPS, STOP, VAL_IMAGES = 4, 2, 5
# what a process posts after a step is read by all after the next one
SIGNAL_AFTER = STOP - 2
pytest.importorskip("timm", reason="the extra `timm` has the tiny backbone")


class Job(NamedTuple):
    """One start of a program in `ranks` processes; rank 1 gets SIGTERM during step `signal_after`.
    """

    program: str
    argv: list[str]
    ranks: int
    signal_after: int | None = None


def run(folder: Path, jobs: dict[str, Job], seconds: float) -> dict[str, dict[str, Any]]:
    """Runs the jobs; returns for each what `tests/many_processes.py` says that it found."""
    (folder / "jobs.json").write_text(json.dumps([job._asdict() for job in jobs.values()]))
    done = subprocess.run([sys.executable, str(ROOT / "tests/many_processes.py"), str(folder)],
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
                          text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(zip(jobs, json.loads((folder / "found.json").read_text()), strict=True))
    codes = {name: set(result["codes"]) for name, result in found.items()}
    expected = {name: {0 if job.signal_after is None else 143} for name, job in jobs.items()}
    assert codes == expected, done.stdout + done.stderr
    (folder / "said.txt").write_text(done.stdout + done.stderr)
    return found


def training(folder: Path, exp: str, ranks: int, global_batch: int,
             signal_after: int | None = None, more: tuple[str, ...] = ()) -> Job:
    """Four steps of a small network without augmentation, with the loss of the whole step."""
    argv = ["--arch", "sfnet_lite_timm:test_efficientnet", "--pretrained", "none", "--data_root",
            str(folder / "data"), "--ckpt", str(folder / "logs"), "--exp", exp,
            "--crop_size", "32x64", "--scale_min", "1", "--scale_max", "1", "--no_flip",
            "--color_aug", "0", "--no_gblur", "--global_batch", str(global_batch),
            "--max_iters", str(STEPS), "--num_workers", "0", "--precision", "fp32", "--lr", "1e-5",
            "--log_every", "1", "--checkpoint_every", "1000", "--class_uniform_pct", "0.5",
            *more]
    return Job("train", argv, ranks, signal_after)


def evaluation(folder: Path, exp: str, ranks: int) -> Job:
    argv = ["--snapshot", str(folder / "logs" / exp / "last.pth"), "--data_root",
            str(folder / "data"), "--precision", "fp32", "--num_workers", "0", "--ckpt_path",
            str(folder / f"scores_{ranks}"), "--json", str(folder / f"scores_{ranks}.json")]
    return Job("eval", argv, ranks)


def make_data(folder: Path, count: int) -> None:
    make_streets.main(["--out", str(folder / "data"), "--train", str(count), "--val",
                       str(VAL_IMAGES), "--size", "32x64", "--workers", "1"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("many")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict[str, Any]]:
    make_data(folder, 16)
    # four processes take a step in two passes, which batch norms would see
    more = ("--fix_bn",)
    jobs = {
        "one": training(folder, "one", ranks=1, global_batch=8, more=more),
        "eight": training(folder, "eight", ranks=8, global_batch=8, signal_after=SIGNAL_AFTER,
                          more=more),
        "four": Job("train", ["--resume", str(folder / "logs/eight")], ranks=4),
        **{f"scores {ranks}": evaluation(folder, "one", ranks) for ranks in (1, 3, 8)},
    }
    return run(folder, jobs, seconds=600)


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in every if line["kind"] == kind]


def images_of_steps(result: dict[str, Any]) -> list[list[str]]:
    """The images of each step over all ranks, in the order of the ranks."""
    return [[name for rank in ranks for name in rank]
            for ranks in zip(*result["names"], strict=True)]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in lines(run, "train")]


def test_the_ranks_share_the_images_of_one_process(found: dict[str, dict[str, Any]]) -> None:
    expected = found["one"]["names"][0]
    assert [len(names) for names in expected] == [8] * STEPS
    together = images_of_steps(found["eight"]) + images_of_steps(found["four"])
    assert together == expected
    assert {len(names) for rank in found["eight"]["names"] for names in rank} == {1}
    assert {len(names) for rank in found["four"]["names"] for names in rank} == {2}


def test_eight_processes_and_then_four_give_the_losses_of_one(
    found: dict[str, dict[str, Any]], folder: Path
) -> None:
    runs = [folder / "logs/one", folder / "logs/eight"]
    assert [line["step"] for line in lines(runs[1], "train")] == [1, 2, 3, 4]
    assert losses(runs[1]) == pytest.approx(losses(runs[0]), rel=1e-4)
    states = [torch.load(run / "last.pth", weights_only=True) for run in runs]
    flat = [torch.cat([value.double().flatten() for value in state["state_dict"].values()])
            for state in states]
    assert (flat[0] - flat[1]).norm() <= 1e-4 * flat[0].norm()
    # a random generator of each process that wrote it
    assert [len(state["rng"]) for state in states] == [1, 4]


def test_a_stopped_run_has_the_checkpoint_of_all_its_processes(
    found: dict[str, dict[str, Any]], folder: Path
) -> None:
    assert [len(names) for names in found["eight"]["names"]] == [STOP] * 8
    state = torch.load(folder / f"logs/eight/checkpoints/step_{STOP}.pth", weights_only=True)
    assert state["step"] == STOP and len(state["rng"]) == 8
    assert "is from 8 process(es), and 4 go on" in (folder / "said.txt").read_text()
    said = (folder / "logs/eight/train.log").read_text()
    assert "8 images (8 processes x 1 micro-batch x 1 images)" in said
    assert "8 images (4 processes x 2 micro-batches x 1 images)" in said


def test_the_last_validation_covers_every_image_once(
    found: dict[str, dict[str, Any]], folder: Path
) -> None:
    scores = [lines(folder / "logs" / run, "validation")[-1] for run in ("one", "eight")]
    assert scores[0]["step"] == scores[1]["step"] == STEPS
    assert scores[1]["pixel_accuracy"] == pytest.approx(scores[0]["pixel_accuracy"], abs=2e-3)


def confusion_matrices(folder: Path, counts: tuple[int, ...]) -> list[list[list[int]]]:
    files = [folder / f"scores_{ranks}.json" for ranks in counts]
    return [json.loads(file.read_text())["confusion_matrix"] for file in files]


def test_confusion_matrices_are_equal_for_1_3_and_8_processes(
    found: dict[str, dict[str, Any]], folder: Path
) -> None:
    # of eight processes, three have no image
    one, *others = confusion_matrices(folder, (1, 3, 8))
    assert sum(map(sum, one)) > 0
    assert others == [one, one]


@pytest.mark.slow
def test_sixteen_processes_train_and_evaluate_as_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("sixteen")
    make_data(folder, 32)
    jobs = {
        "one": training(folder, "one", ranks=1, global_batch=16),
        "sixteen": training(folder, "sixteen", ranks=16, global_batch=16,
                            signal_after=SIGNAL_AFTER),
        "eight": Job("train", ["--resume", str(folder / "logs/sixteen")], ranks=8),
        **{f"scores {ranks}": evaluation(folder, "one", ranks) for ranks in (1, 16)},
    }
    found = run(folder, jobs, seconds=1800)
    together = images_of_steps(found["sixteen"]) + images_of_steps(found["eight"])
    assert together == found["one"]["names"][0]
    # batch norms see the images of all sixteen; after that eight processes take two passes a step
    one, sixteen = (losses(folder / "logs" / name) for name in ("one", "sixteen"))
    assert sixteen[:STOP] == pytest.approx(one[:STOP], rel=1e-4) and len(sixteen) == STEPS
    matrices = confusion_matrices(folder, (1, 16))
    assert matrices[0] == matrices[1]
