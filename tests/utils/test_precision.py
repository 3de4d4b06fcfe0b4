"""The precision of a network: defaults, refusals, and what autocast changes."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from tests import gpu_answers
from utils import precision
from utils.cli import FlagParser, run_program

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16 needs a CUDA GPU, but this runs on cpu"):
        precision.resolve_precision("fp16", CPU)


@pytest.mark.parametrize(("features", "expected"), [({"avx2"}, "fp32"), ({"amx_bf16"}, "bf16")])
def test_bf16_is_the_default_only_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, features: set[str], expected: str
) -> None:
    monkeypatch.setattr(precision, "cpu_features", lambda: features)
    assert precision.resolve_precision(None, CPU) == expected
    assert precision.resolve_precision("fp32", CPU) == "fp32"


def apply(*flags: str) -> str:
    parser = FlagParser()
    precision.add_flags(parser, training=False)
    options = precision.PrecisionOptions.from_args(parser.parse_args(flags))
    return options.apply(CPU, one_size=False)


def test_exact_is_float32_where_bf16_would_be_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_features", lambda: {"amx_bf16"})
    assert apply() == "bf16"
    assert apply("--exact") == apply("--exact", "--precision", "fp32") == "fp32"


def test_exact_leaves_no_tf32_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(precision, "configure", lambda tf32, *rest, **more: asked.append(tf32))
    for flags in ([], ["--no_tf32"], ["--exact"]):
        apply(*flags)
    assert asked == [True, False, False]


def test_exact_clashes_with_another_precision() -> None:
    with pytest.raises(
        ValueError, match="--exact is float32, and clashes with --precision bf16: give one of them"
    ):
        apply("--exact", "--precision", "bf16")


def test_autocast_changes_the_convolutions_type() -> None:
    net, images = nn.Conv2d(3, 2, 1), torch.randn(1, 3, 4, 4)
    with precision.autocast(CPU, "bf16"):
        assert net(images).dtype == torch.bfloat16
    with precision.autocast(CPU, "fp32"):
        assert net(images).dtype == torch.float32


def test_compiling_without_a_compiler_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"--compile needs a C\+\+ compiler"):
        precision.PrecisionOptions(compile=True).apply(torch.device("cpu"), one_size=True)


def test_a_gpu_is_the_default_device(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu_answers.answer(monkeypatch)
    assert precision.default_device() == CUDA and caplog.text == ""
    assert precision.resolve_precision(None, CUDA) == "bf16"
    gpu_answers.answer(monkeypatch, capability=(7, 5))
    assert precision.resolve_precision(None, precision.default_device()) == "fp32"


@pytest.mark.parametrize(("answers", "messages"), [
    ({"error": gpu_answers.OLD_DRIVER},
     ["driver on your system is too old (found version 11040)", "update NVIDIA's driver"]),
    ({"error": gpu_answers.TAKEN, "error_at": "mem_get_info"},
     ["busy or unavailable", "nvidia-smi lists them"]),
    ({"error": gpu_answers.FILLED, "error_at": "mem_get_info"},
     ["out of memory", "other processes have taken the GPU"]),
    ({"error": gpu_answers.NO_GPU, "visible": "7"}, ["names none of the GPUs"]),
    ({"capability": (6, 1)}, ["Test GPU has compute capability 6.1", "install an older torch"]),
], ids=["old driver", "taken", "filled", "hidden", "old GPU"])
def test_a_gpu_that_cannot_be_used_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answers: dict[str, Any],
    messages: list[str],
) -> None:
    gpu_answers.answer(monkeypatch, **answers)
    assert run_program("train.py", lambda: precision.default_device() and 0) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("train.py: error: ")
    for message in [*messages, "an empty CUDA_VISIBLE_DEVICES runs this on the CPU"]:
        assert message in said


@pytest.mark.parametrize(("answers", "reason"), [
    ({"error": gpu_answers.NO_DRIVER}, "NVIDIA's driver, which a GPU needs, is not installed"),
    ({"error": gpu_answers.NO_GPU}, "NVIDIA's driver finds no GPU"),
    ({"error": gpu_answers.OLD_DRIVER, "visible": ""}, "CUDA_VISIBLE_DEVICES= hides every GPU"),
], ids=["no driver", "no GPU", "hidden"])
def test_without_a_gpu_the_cpu_is_used_and_fp16_says_why_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], reason: str
) -> None:
    gpu_answers.answer(monkeypatch, **answers)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert precision.default_device() == CPU
    assert precision.why_no_cuda() == reason
    with pytest.raises(ValueError) as refused:
        precision.resolve_precision("fp16", CPU)
    assert f"but this runs on cpu ({reason}): use bf16 or fp32" in str(refused.value)


def test_a_gpu_that_starts_no_more_is_no_reason_to_train_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu_answers.answer(monkeypatch, error="Cannot re-initialize CUDA in forked subprocess")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match=r"cannot use the GPU .Cannot re-initialize CUDA"):
        precision.default_device()


def test_a_torch_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert precision.why_no_cuda() == "this torch is built without CUDA"


@pytest.mark.parametrize(("capability", "compiled_for", "expected"), [
    ((8, 6), ["sm_75", "sm_80"], True),  # binary code of the same major capability
    ((8, 0), ["sm_86"], False),
    ((9, 0), ["sm_80"], False),
    ((9, 0), ["sm_80", "compute_80"], True),  # compiled when it is loaded
    ((6, 1), ["sm_75", "compute_75"], False),
    ((9, 0), ["sm_90a"], True),
    ((12, 0), ["sm_90", "sm_120"], True),
    ((6, 1), [], True),  # unknown
])
def test_a_gpu_runs_code_of_its_own_capability(
    capability: tuple[int, int], compiled_for: list[str], expected: bool
) -> None:
    assert precision.has_kernels(capability, compiled_for) == expected


def test_memory_that_other_processes_hold_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu_answers.answer(monkeypatch, free=1.2e9)
    with caplog.at_level(logging.WARNING):
        assert precision.default_device() == CUDA
    assert caplog.messages == [
        "other processes hold 9.8 of the 11.0 GB of GPU 0 (Test GPU): stop them (nvidia-smi lists "
        "them), or choose another GPU with CUDA_VISIBLE_DEVICES=N"]
    # what this process itself has reserved is not theirs
    caplog.clear()
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 9e9)
    assert precision.default_device() == CUDA and caplog.messages == []


def test_compiling_for_a_gpu_needs_triton_and_a_gpu_that_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = precision.PrecisionOptions(compile=True, precision="fp32")
    gpu_answers.answer(monkeypatch, capability=(6, 1), compiled_for=("sm_60",))
    with pytest.raises(ValueError, match=r"capability 7.0 or more, and Test GPU has 6.1: leave it"):
        options.apply(CUDA, one_size=True)
    gpu_answers.answer(monkeypatch)
    monkeypatch.setattr(precision, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--compile needs Triton on a GPU: install it \(pip"):
        options.apply(CUDA, one_size=True)


def test_the_search_for_kernels_is_switched_off_and_on_again(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with precision.without_kernel_search():
        assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark
