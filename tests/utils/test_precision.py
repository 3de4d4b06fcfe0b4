"""The precision of a network: defaults, refusals, and what autocast changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from utils import precision
from utils.cli import FlagParser

CPU = torch.device("cpu")


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16 needs a CUDA GPU, but this runs on cpu"):
        precision.resolve_precision("fp16", CPU)


@pytest.mark.parametrize(("features", "expected"), [({"avx2"}, "fp32"), ({"amx_bf16"}, "bf16")])
def test_bf16_is_the_default_only_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, features: set[str], expected: str
) -> None:
    monkeypatch.setattr(precision, "_cpu_features", lambda: features)
    assert precision.resolve_precision(None, CPU) == expected
    assert precision.resolve_precision("fp32", CPU) == "fp32"


def apply(*flags: str) -> str:
    parser = FlagParser()
    precision.add_flags(parser, training=False)
    options = precision.PrecisionOptions.from_args(parser.parse_args(flags))
    return options.apply(CPU, one_size=False)


def test_exact_is_float32_where_bf16_would_be_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_features", lambda: {"amx_bf16"})
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
