"""Each part measures a small network on this machine."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from tools.benchmark.machine import parts, plan
from tools.benchmark.machine.worker import Deadline

RUN = "cityscapes_sfnet_dfv1"
TINY = replace(plan.CPU, runs=(RUN,), more_runs=(RUN,), compared_runs=(RUN,),
               compared_crop=(64, 64), crop=(64, 64), images=4, few_images=2,
               training=("fp32", "bf16"), steps=1, image=(64, 64), rounds=2, matrix_side=64,
               copied=1 << 20, street=(64, 128), loaded_batches=1, loaded_images=2)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small numbers are those of a CPU, also beside a GPU."""
    monkeypatch.setattr(parts, "default_device", lambda: CPU)


def measured(part: Any) -> list[dict[str, Any]]:
    rows = list(part(TINY, Deadline(600)))
    assert not [row for row in rows if "error" in row]
    return rows


def test_rates_are_positive() -> None:
    rows = measured(parts.rates)
    assert [row.get("arithmetic") for row in rows] == ["fp32", "bf16", None]
    assert min(row["per_second"] for row in rows) > 0


def test_bfloat16_differs_from_float32_which_agrees_with_itself() -> None:
    (row,) = measured(parts.agreement)
    assert row["arithmetic"] == "bf16"
    assert 0 < row["loss"] < 0.1 and row["gradient"] > 0
    expected = parts.loss_and_gradient(RUN, "fp32", TINY, CPU)
    assert parts.differences(expected, RUN, "fp32", TINY, CPU) == {"loss": 0, "gradient": 0}


def test_a_step_is_repeated_until_its_gradient_is_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    class Overflowing(parts.Steps):
        def train_step(self, batch: Any, want_norm: bool = False) -> Any:
            result = super().train_step(batch, want_norm)
            taken.append(1)
            if len(taken) < 3:
                next(self.net.parameters()).grad[:] = float("inf")
            return result

    monkeypatch.setattr(parts, "Steps", Overflowing)
    _, gradient = parts.loss_and_gradient(RUN, "fp32", TINY, CPU)
    assert len(taken) == 3 and gradient.isfinite().all()


def test_training_is_timed_with_many_and_with_few_images() -> None:
    rows = measured(parts.training)
    assert [(row["arithmetic"], row["images"]) for row in rows] == [
        ("fp32", 4), ("fp32", 2), ("bf16", 4)]
    for row in rows:
        assert row["images_per_second"] == pytest.approx(row["images"] / row["seconds"])
        assert row["arch"] == "sfnet_dfnetv1" and row["peak_memory"] > 0


def test_some_networks_are_measured_in_the_first_setting_only(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def row_of(run: str, *setting: Any) -> dict[str, Any]:
        return {"run": run, "setting": setting[:2]}

    monkeypatch.setattr(parts, "time_training", row_of)
    monkeypatch.setattr(parts, "predictions", lambda *args: [row_of(*args)])
    monkeypatch.setattr(parts, "training_options", lambda *args: None)
    monkeypatch.setattr(parts, "attempt", lambda row, *args: row)
    two = replace(TINY, runs=("first", "second"), more_runs=("first",), batches=(1, 8))
    for part, settings in {parts.training: 3, parts.inference: 2, parts.computed_memory: 2}.items():
        runs = [row["run"] for row in part(two, Deadline(60))]
        assert runs == ["first", "second"] + ["first"] * (settings - 1)


def test_a_gpu_that_is_too_small_gets_fewer_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def speed(options: Any, count: int, device: torch.device) -> dict[str, Any]:
        images = options.batching.sizes.global_batch
        if images > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return {"images_per_second": 1.0}

    monkeypatch.setattr(parts, "training_speed", speed)
    row = parts.time_training(RUN, "fp32", 8, TINY, CPU, Deadline(60), "eager")
    assert row["images"] == 2 and "error" not in row


def test_predictions_are_timed_beside_eager_float32() -> None:
    rows = measured(parts.inference)
    assert [row["setting"] for row in rows] == ["plain", "fp32", "bf16"]
    assert all(row["operations"] > 0 and row["batch"] == 1 for row in rows)


def test_the_loader_reads_files_and_a_pack() -> None:
    rows = measured(parts.loading)
    assert {"files", "pack"} <= {row["source"] for row in rows}
    assert min(row["images_per_second"] for row in rows) > 0


def test_the_machine_is_named() -> None:
    (row,) = measured(parts.facts)
    assert row["torch"] == torch.__version__ and row["device"] == row["processor"]


def failing() -> Iterator[dict[str, Any]]:
    raise ImportError("timm is missing")


def test_a_setting_that_fails_is_a_row_with_its_error_but_a_lost_gpu_is_raised() -> None:
    deadline = Deadline(60)
    row = parts.attempt({"run": "a"}, deadline, "eager", failing)
    assert row == {"run": "a", "error": "ImportError: timm is missing"}
    assert deadline.longest["eager"] >= 0

    def lost() -> dict[str, Any]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        parts.attempt({}, deadline, "eager", lost)


def test_no_measurement_begins_after_the_deadline() -> None:
    for part in (parts.training, parts.inference, parts.computed_memory, parts.loading):
        assert list(part(TINY, Deadline(0))) == []


@pytest.mark.slow
def test_the_memory_of_the_steps_is_computed() -> None:
    rows = measured(parts.computed_memory)
    assert [row["arithmetic"] for row in rows] == ["fp32", "bf16"]
    assert rows[0]["peak_memory"] > rows[1]["peak_memory"] > 0
