"""Memory computed without a GPU, against the tensors of real steps on the CPU."""
from __future__ import annotations

import json
import multiprocessing
import re
from pathlib import Path

import pytest
import torch

import network
import train
from network.checkpoints.weights import published_state_dict
from tools.benchmark import __main__ as benchmark
from tools.benchmark import memory
from tools.benchmark.memory import Footprint, compute
from tools.benchmark.steps import Steps
from tools.benchmark.storages import StorageTracker
from utils import machine, resizing
from utils.files import ROOT
from utils.machine import GB

SMALL = ["--arch", "sfnet_dfnetv1", "--crop_size", "256", "--bs_mult", "2"]
# features outweigh the weights
LARGE = ["--arch", "sfnet_dfnetv1", "--crop_size", "512", "--bs_mult", "2"]
CPU = torch.device("cpu")


def real_steps(options: train.Options) -> Steps:
    """Steps on the CPU that update all weights at once, as a GPU does."""
    steps = Steps(options, CPU)
    for group in steps.optimizer.param_groups:
        group["foreach"] = True
    return steps


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_computed_peak_is_that_of_real_tensors(precision: str,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    # the losses of a CPU, whose chunks are smaller than those of a GPU
    monkeypatch.setattr(resizing, "GPU_CHUNK_VALUES", resizing.CHUNK_VALUES)
    options = train.parse([*SMALL, "--precision", precision, "--fpn_dsn_loss"])
    with StorageTracker("cpu") as tracker:
        steps = real_steps(options)
        steps.create_optimizer_state()
        steps.take(1)
    assert compute(options, precision).peak == pytest.approx(tracker.peak, rel=0.03)


def test_each_flag_changes_the_memory_as_it_should() -> None:
    plain = compute(train.parse(LARGE), "fp32")
    parameters = 4 * sum(weight.numel() for weight in
                         Steps(train.parse(LARGE), torch.device("meta")).net.parameters())
    # a block of 512 bytes holds a small tensor, and batch norms have buffers
    assert parameters < plain.weights < 1.02 * parameters
    assert parameters < plain.optimizer_state < 1.02 * parameters and plain.average == 0
    assert plain.features == plain.peak - plain.weights - plain.optimizer_state > parameters
    averaged = compute(train.parse([*LARGE, "--ema_decay", "0.9"]), "fp32")
    assert averaged.average == plain.weights
    assert averaged.peak == pytest.approx(plain.peak + plain.weights, rel=0.01)
    adam = compute(train.parse([*LARGE, "--adamw"]), "fp32")
    assert adam.optimizer_state == pytest.approx(2 * plain.optimizer_state, rel=0.02)
    assert compute(train.parse([*LARGE, "--recompute"]), "fp32").features < 0.9 * plain.features
    assert compute(train.parse(LARGE), "fp16").features < 0.9 * plain.features


def child_peak(flags: list[str], connection) -> None:
    """Sends how much a step adds to the memory of this process, and what is computed for it."""
    torch.set_num_threads(1)
    options = train.parse(flags)
    steps = real_steps(options)
    steps.create_optimizer_state()
    machine.reset_peak(CPU)
    before = machine.host_memory()
    steps.take(1)
    computed = compute(options, "fp32")
    connection.send((machine.peak_memory(CPU) - before,
                     computed.peak - computed.weights - computed.optimizer_state))


@pytest.mark.slow
@pytest.mark.skipif(not Path(machine.CLEAR_REFS).exists(),
                    reason="only Linux tells the memory of a process")
def test_a_process_grows_by_about_the_computed_memory() -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    flags = ["--arch", "sfnet_resnet18", "--crop_size", "512x512", "--bs_mult", "2",
             "--precision", "fp32"]
    child = context.Process(target=child_peak, args=(flags, there))
    child.start()
    measured, computed = here.recv()
    child.join()
    assert computed == pytest.approx(measured, rel=0.25)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_gpu_takes_what_is_computed_and_workspaces(gpu: torch.device, precision: str) -> None:
    if gpu.type == "cpu":
        pytest.skip("a CPU has no separate memory of tensors")
    options = train.parse(["--arch", "sfnet_resnet18", "--crop_size", "512x1024", "--bs_mult", "2",
                           "--ohem", "--precision", precision])
    computed = compute(options, precision).peak
    with StorageTracker(gpu.type) as tracker:
        steps = Steps(options, gpu)
        steps.create_optimizer_state()
        steps.take(1)
    del steps
    assert computed == pytest.approx(tracker.peak, rel=0.1)
    measured = memory.measure(options, gpu)
    assert measured is not None
    # tensors, and the workspaces for which a gigabyte is reserved
    assert 0.95 * computed < measured.later_steps < computed + memory.RESERVE * GB
    assert measured.first_step > 0.95 * computed


def test_the_first_step_is_measured_apart(monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    class FakeSteps:
        def __init__(self, options: train.Options, device: torch.device) -> None:
            taken.append("built")

        def create_optimizer_state(self) -> None:
            taken.append("state")

        def take(self, count: int) -> None:
            taken.append(count)
            if too_small:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    taken: list[object] = []
    too_small = False
    peaks = iter([1300, 1200])
    monkeypatch.setattr(memory, "Steps", FakeSteps)
    monkeypatch.setattr(memory, "reset_peak", lambda device: taken.append("reset"))
    monkeypatch.setattr(memory, "peak_memory", lambda device: next(peaks))
    options = train.parse(SMALL)
    assert memory.measure(options, CPU) == memory.Measured(first_step=1300, later_steps=1200)
    assert taken == ["reset", "built", "state", 1, "reset", memory.MEASURED_STEPS]
    too_small = True
    assert memory.measure(options, CPU) is None
    assert "not measured: CUDA out of memory" in capsys.readouterr().err


def test_a_card_fits_if_a_gigabyte_is_left() -> None:
    footprint = Footprint(weights=1, average=2, optimizer_state=3, peak=int(10 * GB))
    assert footprint.features == int(10 * GB) - 6
    assert footprint.fits(11) and not footprint.fits(10.9)


def test_the_command_prints_and_writes_the_bytes(tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "memory.json"
    assert benchmark.main(["memory", *SMALL, "--precision", "bf16", "--json", str(out), "--",
                           "--ohem"]) == 0
    said, (step,) = capsys.readouterr().out, json.loads(out.read_text())["steps"]
    assert step["flags"][-3:] == ["--ohem", "--precision", "bf16"]
    assert step["peak"] > step["weights"] + step["optimizer_state"] > 0
    assert f"peak             {step['peak'] / GB:7.3f} GB" in said
    assert "11 GB: fits, 16 GB: fits, 24 GB: fits (with 1 GB left free for CUDA itself)" in said


def test_the_boundary_output_and_a_teacher_are_counted(tmp_path: Path) -> None:
    def footprint(*flags: str) -> Footprint:
        return compute(train.parse([*SMALL, "--dataset", "camvid", *flags]), "fp32")

    plain, boundary = footprint(), footprint("--boundary_weight", "20")
    assert boundary.weights > plain.weights and boundary.optimizer_state > plain.optimizer_state
    assert boundary.features > plain.features
    net = network.build("sfnet_dfnetv1", 11)
    torch.save({"arch": "sfnet_dfnetv1", "state_dict": published_state_dict(net)},
               tmp_path / "teacher.pth")
    taught = footprint("--teacher", str(tmp_path / "teacher.pth"))
    assert taught.weights > 1.9 * plain.weights
    assert taught.optimizer_state == plain.optimizer_state


def test_a_launcher_gets_the_first_flags_that_fit(monkeypatch: pytest.MonkeyPatch,
                                                  tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def fake(options: train.Options, precision: str) -> Footprint:
        sizes, recomputes = options.batching.sizes, options.step.recompute
        asked.append((sizes.bs_mult, sizes.accumulate, precision, recomputes))
        # 14 GB an image in float32, half of it in float16, and a quarter less with --recompute
        share = {"fp32": 1.0, "fp16": 0.5}[precision] * (0.75 if recomputes else 1.0)
        return Footprint(0, 0, 0, int(14 * GB * sizes.bs_mult * share))

    monkeypatch.setattr(memory, "compute", fake)
    page = tmp_path / "memory.md"
    assert benchmark.main(["memory", "--launchers", "cityscapes_sfnet_res18",
                           "cityscapes_sfnet_res18_trainval", "mapillary_sfnet_res18",
                           "--doc", str(page)]) == 0
    # two images on each of 8 GPUs: 28, 14 and 10.5 GB, which leaves less than 1 of 11 GB
    assert asked[:3] == [(2, 1, "fp32", False), (2, 1, "fp16", False), (2, 1, "fp16", True)]
    row = ("| `cityscapes_sfnet_res18` | 1024x1024 | 2 | 28.00 | no | "
           "`--precision fp16` (14.00 GB) | `--precision fp16` (14.00 GB) |")
    assert row in page.read_text()
    # the second launcher needs as much, and was not computed again
    assert row.replace("res18`", "res18_trainval`") in page.read_text()
    # four images: 56, 28 and 21 GB; two at a time: 14 and 10.5 GB
    assert asked[3:] == [(4, 1, "fp32", False), (4, 1, "fp16", False), (4, 1, "fp16", True),
                         (2, 2, "fp16", False), (2, 2, "fp16", True)]
    assert ("| `mapillary_sfnet_res18` | 1024x1024 | 4 | 56.00 | no | "
            "`--precision fp16 --bs_mult 2 --accumulate 2` (14.00 GB) | "
            "`--precision fp16 --recompute` (21.00 GB) |") in page.read_text()
    assert "cityscapes_sfnet_res18_trainval" in capsys.readouterr().out


def test_what_fits_nowhere_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "compute", lambda *_: Footprint(0, 0, 0, int(15 * GB)))
    row = memory.launcher_row("cityscapes_sfnet_res18", {})
    assert row["fits"] == {"11": None, "16": "", "24": ""}
    assert "11 GB: no, 16 GB: yes, 24 GB: yes" in memory.row_text(row)
    assert len(row["bytes"]) == 3


def test_nothing_is_computed_beyond_what_fits_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "compute", lambda *_: Footprint(0, 0, 0, int(5 * GB)))
    row = memory.launcher_row("streets_sfnet_dfv1", {})
    # a global batch of 8 is one GPU's
    assert row["bytes"] == {"": 5 * GB} and row["images"] == 8
    assert memory.row_text(row).endswith("5.00 GB in fp32; 11 GB: yes, 16 GB: yes, 24 GB: yes")


@pytest.mark.parametrize(("flags", "message"), [
    (["--doc", "a.md"], "--doc is the page of --launchers"),
    (["--launchers", "nothing"], "there is no launcher"),
])
def test_wrong_flags_are_refused(flags: list[str], message: str,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["memory", *flags]) == 2
    assert message in capsys.readouterr().err


def test_the_page_has_a_row_for_every_launcher() -> None:
    rows = re.findall(r"^\| `(\w+)`", (ROOT / "results/memory.md").read_text("utf-8"), re.MULTILINE)
    assert rows == sorted(path.stem.removeprefix("train_")
                          for path in (ROOT / "scripts/train").glob("*.sh"))
