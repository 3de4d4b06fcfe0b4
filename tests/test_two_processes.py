"""Two processes against one: the same steps, the same scores, the same stop. All checks share one
start.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import train
from tests.two_processes import WIDE, comparable
from tools.make_streets import __main__ as make_streets

ROOT = Path(train.__file__).parent
STEPS = 10


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def flags(folder: Path) -> list[str]:
    """Ten steps of four images: no augmentation, no dropout, cross entropy, float32."""
    make_streets.main(
        [
            "--out",
            str(folder / "data"),
            "--train",
            "8",
            "--val",
            "3",
            "--size",
            "64x128",
            "--workers",
            "1",
        ]
    )
    return [
        "--arch",
        "sfnet_dfnetv1",
        "--pretrained",
        "none",
        "--data_root",
        str(folder / "data"),
        "--ckpt",
        str(folder / "logs"),
        "--crop_size",
        "64x128",
        "--scale_min",
        "1",
        "--scale_max",
        "1",
        "--no_flip",
        "--color_aug",
        "0",
        "--no_gblur",
        "--global_batch",
        "4",
        "--max_iters",
        str(STEPS),
        "--num_workers",
        "0",
        "--precision",
        "fp32",
        "--log_every",
        "1",
        "--checkpoint_every",
        "1000",
    ]


@pytest.fixture(scope="module")
def found(folder: Path, flags: list[str]) -> list[dict[str, Any]]:
    """What each of the two processes found."""
    environment = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(ROOT / "tests/two_processes.py"), str(folder), "--", *flags]
    started = [
        subprocess.Popen(
            command,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    return [torch.load(folder / f"found_{rank}.pt", weights_only=True) for rank in range(2)]


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in every if line["kind"] == kind]


def test_normalization_over_two_processes_is_that_of_the_whole_batch(
    found: list[dict[str, Any]],
) -> None:
    torch.manual_seed(0)
    images, towards = torch.randn(5, 3, 4, 4) * 3 + 7, torch.randn(5, 3, 4, 4)
    images.requires_grad_()
    norm = nn.BatchNorm2d(3)
    outputs = norm(images)
    (outputs * towards).sum().backward()
    parts = [each["norm"] for each in found]
    torch.testing.assert_close(torch.cat([part["outputs"] for part in parts]), outputs.detach())
    torch.testing.assert_close(
        torch.cat([part["grad"] for part in parts]), images.grad, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(sum(part["weight_grad"] for part in parts), norm.weight.grad)
    for part in parts:
        torch.testing.assert_close(
            {f"0.{key}": value for key, value in norm.state_dict().items()}, part["state"]
        )


def test_a_signal_to_one_process_stops_both_after_the_same_step(
    found: list[dict[str, Any]],
) -> None:
    assert [each["stop"] for each in found] == [4, 4]  # posted at check 3, read at the next


def test_a_folder_that_holds_a_run_stops_both_processes(
    found: list[dict[str, Any]], folder: Path
) -> None:
    taken = f"{folder / 'logs/whole'} already holds a run"
    assert all(each["taken"].startswith(taken) for each in found)
    assert not (folder / "logs_of_the_other_host").exists()


def test_different_flags_are_named_with_their_ranks(found: list[dict[str, Any]]) -> None:
    assert all("--lr is 0.2 on rank 1 and 0.1 on rank 0" in each["difference"] for each in found)
    assert all("seed" not in each["difference"] for each in found)


@pytest.mark.parametrize(
    ("exp", "double", "more", "loss", "weight"),
    [
        (
            "two",
            False,
            ["--lr", "1e-5"],
            1e-5,
            1e-5,
        ),  # at a larger rate float32's rounding grows tenfold in some steps
        ("two_wide", True, WIDE, 1e-6, 1e-8),  # the criterion stays in float32
    ],
    ids=["float32", "float64"],
)
def test_two_processes_take_the_steps_of_one(
    found: list[dict[str, Any]],
    folder: Path,
    flags: list[str],
    exp: str,
    double: bool,
    more: list[str],
    loss: float,
    weight: float,
) -> None:
    with comparable(double):
        assert train.main([*flags, "--exp", f"one_for_{exp}", *more]) == 0
    runs = folder / f"logs/one_for_{exp}", folder / "logs" / exp
    losses = [[line["loss"] for line in lines(run, "train")] for run in runs]
    assert len(losses[0]) == len(losses[1]) == STEPS
    assert losses[1] == pytest.approx(losses[0], rel=loss)
    weights = [torch.load(run / "last.pth", weights_only=True)["state_dict"] for run in runs]
    flat = [torch.cat([value.double().flatten() for value in state.values()]) for state in weights]
    assert (flat[0] - flat[1]).norm() <= weight * flat[0].norm()


def test_a_run_of_two_that_is_stopped_and_resumed_ends_with_the_same_bits(
    found: list[dict[str, Any]], folder: Path
) -> None:
    assert all(each["codes"] == [0, 0, 0, 143, 0] for each in found)
    whole, stopped = folder / "logs/whole", folder / "logs/stopped"
    states = [torch.load(run / "last.pth", weights_only=True) for run in (whole, stopped)]
    assert all(
        torch.equal(states[0]["state_dict"][key], states[1]["state_dict"][key])
        for key in states[0]["state_dict"]
    )
    assert len(states[0]["rng"]) == 2  # a generator of each process
    assert lines(whole, "train")[-1]["loss"] == lines(stopped, "train")[-1]["loss"]
    assert [line["step"] for line in lines(stopped, "train")] == list(range(1, STEPS + 1))


def test_one_process_goes_on_with_a_run_of_two_and_says_that_bits_differ(
    found: list[dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--resume", str(folder / "logs/two"), "--val_split", "none"]) == 0
    said = capsys.readouterr()
    assert (
        "is from 2 process(es), and 1 go on" in said.err
        and "(1 process x 1 micro-batch x 2" not in said.out
    )
    # the global batch stays
    assert "steps of 4 images (1 process x 2 micro-batches x 2 images)" in said.out


@pytest.mark.slow
def test_scores_are_the_same_for_one_two_and_three_processes(
    found: list[dict[str, Any]], folder: Path, flags: list[str]
) -> None:
    matrices = []
    for count in (1, 2, 3):
        out = folder / f"score_{count}.json"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc_per_node",
                str(count),
                str(ROOT / "eval.py"),
                "--snapshot",
                str(folder / "logs/two/last.pth"),
                "--data_root",
                str(folder / "data"),
                "--json",
                str(out),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        matrices.append(json.loads(out.read_text())["confusion_matrix"])
    assert sum(map(sum, matrices[0])) > 0
    assert matrices[0] == matrices[1] == matrices[2]
