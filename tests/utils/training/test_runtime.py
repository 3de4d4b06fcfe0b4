"""Precision, batches, averaging, interrupts, run folders and logs: the small helpers of the loop."""
from __future__ import annotations

import json
import os
import signal
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
import torch
from torch import nn

from utils import distributed, precision
from utils.batches import normalize, prepare
from utils.cli import FlagParser
from utils.training import run_folder
from utils.training.ema import Ema
from utils.training.run_log import RunLog, Window
from utils.training.signals import Interrupted, Interrupts

CPU = torch.device("cpu")
GRAY = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16 needs a CUDA GPU, but this runs on cpu"):
        precision.resolve_precision("fp16", CPU)


@pytest.mark.parametrize(("features", "expected"), [({"avx2"}, "fp32"), ({"amx_bf16"}, "bf16")])
def test_bf16_is_the_default_only_where_it_is_fast(monkeypatch: pytest.MonkeyPatch, features: set[str],
                                                   expected: str) -> None:
    monkeypatch.setattr(precision, "_cpu_features", lambda: features)
    assert precision.resolve_precision(None, CPU) == expected
    assert precision.resolve_precision("fp32", CPU) == "fp32"


def start(*flags: str) -> str:
    parser = FlagParser()
    precision.add_flags(parser, training=False)
    return precision.start(parser.parse_args(flags), CPU)


def test_exact_is_float32_where_bf16_would_be_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_features", lambda: {"amx_bf16"})
    assert (start(), start("--exact"), start("--exact", "--precision", "fp32")) == ("bf16", "fp32", "fp32")


def test_exact_leaves_no_tf32_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(precision, "configure", lambda tf32, *rest, **more: asked.append(tf32))
    for flags in ([], ["--no_tf32"], ["--exact"]):
        start(*flags)
    assert asked == [True, False, False]


def test_exact_clashes_with_another_precision() -> None:
    with pytest.raises(ValueError, match="--exact is float32, and clashes with --precision bf16: give one of them"):
        start("--exact", "--precision", "bf16")


def test_autocast_changes_the_convolutions_type() -> None:
    net, images = nn.Conv2d(3, 2, 1), torch.randn(1, 3, 4, 4)
    with precision.autocast(CPU, "bf16"):
        assert net(images).dtype == torch.bfloat16
    with precision.autocast(CPU, "fp32"):
        assert net(images).dtype == torch.float32


def test_images_are_normalized_by_hand() -> None:
    images = torch.tensor([0, 127.5, 255]).to(torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    found = normalize(images, *GRAY)[0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([-2.0, (127 / 255 - 0.5) / 0.25, 2.0]))


def test_a_batch_is_prepared_and_its_names_stay() -> None:
    batch = {"image": torch.zeros(2, 3, 4, 6, dtype=torch.uint8), "label": torch.full((2, 4, 6), 255).to(torch.uint8),
             "name": ["a", "b"]}
    ready = prepare(batch, CPU, *GRAY, channels_last=True)
    assert ready["image"].is_contiguous(memory_format=torch.channels_last)
    assert ready["label"].dtype == torch.int64 and ready["label"].unique().tolist() == [255]
    assert ready["name"] == ["a", "b"] and batch["image"].dtype == torch.uint8


def test_the_average_moves_by_one_minus_the_decay() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.zeros_(net[0].weight)
    ema = Ema(net, decay=0.9)
    nn.init.ones_(net[0].weight)
    net[1].num_batches_tracked += 7
    ema.update(net, step=1000)                              # long past the warm-up
    assert ema.net[0].weight.item() == pytest.approx(0.1)
    ema.update(net, step=0)                                 # 1 - (1 + 0) / (10 + 0) = 0.9 of the way
    assert ema.net[0].weight.item() == pytest.approx(0.1 + 0.9 * 0.9)
    assert ema.net[1].num_batches_tracked == 7 and not ema.net.training


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="ema_decay"):
        Ema(nn.Linear(1, 1), decay)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_check(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as stopped:
            interrupts.check()
    assert stopped.value.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once() -> None:
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_folder_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "name"
    run_folder.create(folder, {"lr": 0.1}, {"commit": "abc"})
    assert run_folder.read_args(folder) == {"lr": 0.1}
    with pytest.raises(FileExistsError, match=r"already holds a run: go on with it by --resume .*name"):
        run_folder.create(folder, {}, {})


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run is there"):
        run_folder.read_args(tmp_path)


def test_the_environment_tells_code_machine_and_data(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"123")
    found = run_folder.environment(CPU, "fp32", [tmp_path / "a.png"])
    assert found["data"]["files"] == 1 and found["torch"] == torch.__version__
    assert abs(datetime.now(timezone.utc) - datetime.fromisoformat(found["started"])).total_seconds() < 60
    (tmp_path / "a.png").write_bytes(b"1234")
    assert run_folder.environment(CPU, "fp32", [tmp_path / "a.png"])["data"] != found["data"]


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_log_has_no_step_twice_and_no_torn_line(tmp_path: Path) -> None:
    log = RunLog(tmp_path, tmp_path / "tb", step=0, total_steps=10)
    for step in (2, 4, 6):
        log.write("train", step, loss=1.0, terms={"main": 1.0, "aux0": None})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')                 # what a crash leaves
    log = RunLog(tmp_path, tmp_path / "tb", step=4, total_steps=10)
    log.write("train", 6, loss=0.5)
    log.close()
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [(2, 1.0), (4, 1.0), (6, 0.5)]


def test_a_quiet_log_writes_nothing(tmp_path: Path) -> None:
    log = RunLog(tmp_path, tmp_path / "tb", step=0, total_steps=10, quiet=True)
    log.write("train", 1, loss=1.0)
    log.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_window_keeps_each_steps_terms_and_images() -> None:
    window = Window()
    for step, value in ((1, 1.0), (2, 3.0)):
        window.add(step, ["a", "b"], {"main": torch.tensor(value)})
    window.add(3, ["c", "d"], None)                         # left out: its images were loaded, but there is no loss
    assert window.fetch() == [(1, {"main": 1.0}), (2, {"main": 3.0})]
    assert window.images == 6 and window.names(2) == ["a", "b"]


def test_a_pause_is_not_counted() -> None:
    window = Window()
    with window.paused():
        time.sleep(0.2)
    assert window.seconds() < 0.1


def test_alone_the_helpers_of_several_processes_do_nothing() -> None:
    counts = torch.arange(3)
    assert distributed.all_reduce_sum_(counts) is counts
    assert distributed.is_main() and distributed.world_size() == 1
    net = nn.Linear(1, 1)
    assert distributed.wrap(net, CPU) is net
    distributed.barrier()
