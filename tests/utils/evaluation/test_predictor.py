from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import network
from network import alignment
from utils import precision
from utils.batches import normalize
from utils.evaluation import predictor as module
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.predictor import Predictor

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures(height: int, width: int, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return network.build("sfnet_dfnetv1", num_classes=5)


@pytest.mark.parametrize("channels_last", [False, True])
def test_it_parses_as_the_network_itself_does(net: nn.Module, channels_last: bool) -> None:
    images = pictures(64, 96, 2)
    normalized = (images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        expected = net.eval()(normalized)["main"]
    predictor = Predictor(net, CPU, "fp32", MEAN, STD, channels_last)
    torch.testing.assert_close(predictor.logits(images), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(predictor.labels(images).long(), predictor.logits(images).argmax(1))
    torch.testing.assert_close(
        predictor.probabilities(images), expected.softmax(1), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (65, 31)])
def test_images_of_any_size_are_predicted(net: nn.Module, size: tuple[int, int]) -> None:
    labels = Predictor(net, CPU, "fp32", MEAN, STD).labels(pictures(*size))
    assert (labels.shape, labels.dtype) == ((1, *size), torch.uint8)


@pytest.mark.parametrize("size", [(40, 90), (16, 90), (5, 7)])
def test_a_side_below_32_pixels_is_padded_with_its_last_row_or_column(
    net: nn.Module, size: tuple[int, int]
) -> None:
    images, predictor = pictures(*size), Predictor(net, CPU, "fp32", MEAN, STD)
    padded = F.pad(
        images.float(), (0, max(0, 32 - size[1]), 0, max(0, 32 - size[0])), mode="replicate"
    ).byte()
    for method in (predictor.labels, predictor.logits, predictor.probabilities):
        found, expected = method(images), method(padded)[..., : size[0], : size[1]]
        assert found.shape[-2:] == size
        torch.testing.assert_close(found, expected)


def test_a_network_in_training_is_switched_to_evaluation(net: nn.Module) -> None:
    predictor = Predictor(net, CPU, "fp32", MEAN, STD)
    first = predictor.logits(pictures(32, 32))
    net.train()
    assert torch.equal(predictor.logits(pictures(32, 32)), first)
    assert not net.training


def test_bf16_gives_float32_probabilities_near_the_exact_ones(net: nn.Module) -> None:
    images = pictures(64, 64)
    exact = Predictor(net, CPU, "fp32", MEAN, STD).probabilities(images)
    coarse = Predictor(net, CPU, "bf16", MEAN, STD).probabilities(images)
    assert coarse.dtype == torch.float32
    assert (coarse - exact).abs().mean() < 0.02


@pytest.mark.parametrize(
    "how",
    [
        InferenceOptions("whole"),
        InferenceOptions("sliding", (32, 32), scales=(0.5, 1.0), flip=True),
        InferenceOptions("whole", flip=True, average="logits"),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_confidence_is_that_of_the_probabilities(
    net: nn.Module, how: InferenceOptions, temperature: float
) -> None:
    # 20 is below the smallest side, so the images are padded
    images = pictures(20, 60, 2)
    predictor = Predictor(net, CPU, "fp32", MEAN, STD, inference=how, temperature=temperature)
    labels, maps = predictor.confidence(images)
    assert torch.equal(labels, predictor.labels(images))
    probabilities = predictor.probabilities(images)
    first, second = probabilities.topk(2, dim=1).values.unbind(1)
    entropy = -(probabilities * probabilities.log()).sum(1) / torch.tensor(5.0).log()
    for name, expected in (
        ("probability", first), ("margin", first - second), ("entropy", entropy)
    ):
        torch.testing.assert_close(maps[name], expected, atol=1e-4, rtol=0)


def test_a_temperature_flattens_probabilities_and_keeps_labels(net: nn.Module) -> None:
    images = pictures(64, 64)
    plain, flat = (
        Predictor(net, CPU, "fp32", MEAN, STD, temperature=value) for value in (1.0, 3.0)
    )
    assert torch.equal(plain.labels(images), flat.labels(images))
    torch.testing.assert_close(flat.probabilities(images), (plain.logits(images) / 3).softmax(1),
                               atol=1e-4, rtol=0)


def test_sliding_windows_reach_the_network(net: nn.Module) -> None:
    images, how = pictures(40, 90), InferenceOptions("sliding", (32, 32), windows_per_batch=2)
    assert Predictor(net, CPU, "fp32", MEAN, STD, inference=how).labels(images).shape == (1, 40, 90)


def test_a_deployed_network_parses_alike(net: nn.Module) -> None:
    images = pictures(64, 96, 2)
    plain, fast = (
        Predictor(each, CPU, "fp32", MEAN, STD, True)
        for each in (net, network.fuse_for_inference(net))
    )
    torch.testing.assert_close(fast.logits(images), plain.logits(images), atol=1e-4, rtol=1e-4)
    assert (fast.labels(images) == plain.labels(images)).float().mean() > 0.999


def test_normalized_images_are_taken_too(net: nn.Module) -> None:
    predictor = Predictor(net, CPU, "fp32", MEAN, STD)
    assert torch.equal(
        predictor.labels_of_normalized(normalize(pictures(64, 96), MEAN, STD)),
        predictor.labels(pictures(64, 96)),
    )


class Tiny(nn.Module):
    """Two convolutions in a network's manners: a program of it is compiled in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(16, 5, 3, padding=1)
        )

    def forward(self, images: Tensor, upsample: bool = True) -> dict[str, Tensor]:
        assert not upsample
        return {"main": self.layers(images)}


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
def test_a_compiled_network_holds_its_weights_in_its_own_type() -> None:
    torch.manual_seed(0)
    net = Tiny().requires_grad_(False)
    fast = Predictor(net, CPU, "bf16", MEAN, STD, True, compiled=True)
    images = [pictures(64, 96), pictures(96, 64)]
    before = [fast.logits(each) for each in images]
    for weight in net.parameters():
        weight.zero_()
    assert all(
        torch.equal(fast.logits(each), logits) for each, logits in zip(images, before, strict=True)
    )
    plain = Predictor(net, CPU, "bf16", MEAN, STD, True)
    assert not torch.allclose(plain.logits(images[0]), before[0], atol=0.01)


@pytest.mark.slow
def test_a_compiled_predictor_parses_alike_at_several_sizes(net: nn.Module) -> None:
    torch.compiler.reset()
    fast = Predictor(network.fuse_for_inference(net), CPU, "fp32", MEAN, STD, True, compiled=True)
    fast.warm_up((64, 96))
    # the third and later share a program
    for size in ((64, 96), (96, 64), (70, 33), (64, 96), (40, 50)):
        images = pictures(*size)
        expected = Predictor(net, CPU, "fp32", MEAN, STD).logits(images)
        torch.testing.assert_close(fast.logits(images), expected, atol=1e-4, rtol=1e-4)


def test_compiling_without_a_compiler_is_refused(
    net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        ValueError, match=r"--compile needs a C\+\+ compiler, and g\+\+ or clang\+\+ was not found"
    ):
        Predictor(net, CPU, "fp32", MEAN, STD, compiled=True)


def test_graphs_without_a_gpu_are_refused(net: nn.Module) -> None:
    with pytest.raises(ValueError, match="CUDA graphs need a CUDA device, but this runs on cpu"):
        Predictor(net, CPU, "fp32", MEAN, STD, graphs=True)


class FakeGraph:
    """In place of a CUDA graph: replays the function, and notes the shapes captured."""

    captured: ClassVar[list[tuple[int, ...]]] = []

    def __init__(self, function: Callable[[Tensor], Tensor], example: Tensor, pool: Any,
                 stream: Any) -> None:
        if example.shape[-1] == 13:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        self.captured.append(tuple(example.shape))
        self.function = function

    def __call__(self, images: Tensor) -> Tensor:
        return self.function(images)


def double(images: Tensor) -> Tensor:
    return 2 * images


def graph_per_shape(monkeypatch: pytest.MonkeyPatch,
                    function: Callable[[Tensor], Tensor] = double) -> module._GraphPerShape:
    monkeypatch.setattr(module, "_CudaGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(FakeGraph, "captured", [])
    return module._GraphPerShape(function)


def test_a_shape_is_captured_when_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    function = graph_per_shape(monkeypatch)
    for width in (3, 4, 3, 3, 5):
        images = torch.ones(1, width)
        assert torch.equal(function(images), 2 * images)
    assert FakeGraph.captured == [(1, 3)]


def test_shapes_after_the_first_ones_are_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    function = graph_per_shape(monkeypatch)
    monkeypatch.setattr(module, "MAX_GRAPHS", 2)
    for width in (3, 4, 5) * 2:
        function(torch.ones(1, width))
    assert FakeGraph.captured == [(1, 3), (1, 4)]


def test_a_graph_that_cannot_be_captured_is_left_out(monkeypatch: pytest.MonkeyPatch,
                                                     caplog: pytest.LogCaptureFixture) -> None:
    function = graph_per_shape(monkeypatch)
    for width in (13, 13, 13, 3, 3):
        images = torch.ones(1, 1, 7, width)
        assert torch.equal(function(images), 2 * images)
    assert FakeGraph.captured == []
    assert [record.getMessage() for record in caplog.records] == [
        "cannot use a CUDA graph for 7x13 images (CUDA out of memory.): these and other new "
        "shapes run without one, which takes longer"]


def test_a_graph_that_repeats_its_first_result_is_not_used(
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    function = graph_per_shape(monkeypatch)
    first = torch.arange(6.0).view(1, 2, 1, 3)
    monkeypatch.setattr(FakeGraph, "__call__", lambda self, images: double(first))
    for images in (first, first, first.flip(1)):
        assert torch.equal(function(images), 2 * images)
    assert not function._graphs and "(its results differ)" in caplog.text


def test_graphs_that_leave_too_little_memory_are_dropped(
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fit(images: Tensor) -> Tensor:
        if images.shape[-1] >= limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return double(images)

    function = graph_per_shape(monkeypatch, fit)
    limit = 10
    # without graphs, nothing can be dropped
    with pytest.raises(torch.OutOfMemoryError):
        function(torch.ones(1, 1, 7, 10))
    function(torch.ones(1, 1, 7, 3))
    function(torch.ones(1, 1, 7, 3))

    class Graphs(dict):  # type: ignore[type-arg]
        def clear(self) -> None:
            nonlocal limit
            limit = 20
            super().clear()

    function._graphs = Graphs(function._graphs)
    for width in (10, 10, 3):
        images = torch.ones(1, 1, 7, width)
        assert torch.equal(function(images), 2 * images)
    assert FakeGraph.captured == [(1, 1, 7, 3)] and not function._graphs
    assert [record.getMessage() for record in caplog.records] == [
        "the memory is too small for 7x10 images beside the CUDA graphs: all images run without "
        "graphs from now on, which takes longer"]


def test_weights_rounded_once_are_those_of_autocast(net: nn.Module) -> None:
    fused = network.fuse_for_inference(net)
    images = pictures(64, 96)
    expected = Predictor(copy.deepcopy(fused), CPU, "bf16", MEAN, STD).logits(images)
    precision.round_weights(fused, "bf16")
    assert torch.equal(Predictor(fused, CPU, "bf16", MEAN, STD).logits(images), expected)


def test_weights_that_a_convolution_standardizes_are_not_rounded_before() -> None:
    layers = pytest.importorskip("timm.layers", reason="the extra `timm` has these convolutions")
    convolutions = nn.Sequential(layers.StdConv2d(3, 4, 1), layers.ScaledStdConv2d(4, 4, 1),
                                 layers.Conv2dSame(4, 4, 1))
    precision.round_weights(convolutions, "bf16")
    assert [convolution.weight.dtype for convolution in convolutions] == [
        torch.float32, torch.float32, torch.bfloat16]


@pytest.mark.gpu
def test_a_graph_replays_what_the_network_computes(net: nn.Module, gpu: torch.device) -> None:
    graphs = gpu.type == "cuda"
    fast = Predictor(network.fuse_for_inference(net), gpu, "fp32", MEAN, STD, True, graphs=graphs)
    plain = Predictor(network.fuse_for_inference(net), gpu, "fp32", MEAN, STD, True)
    fast.warm_up((64, 96))
    first, second = pictures(64, 96), pictures(64, 96).flip(3)
    kept = fast.labels(first)
    tall, pair = pictures(96, 64), pictures(64, 96, 2)
    for images in (first, second, tall, pair, tall, pair, second, tall):
        assert (fast.labels(images) == plain.labels(images)).float().mean() > 0.999
    # a later call leaves it alone
    assert torch.equal(kept, fast.labels(first))
    if graphs:
        # other sizes evict the grids that the graph reads, whose memory would be used again
        alignment._cached_grid.cache_clear()
        used = [torch.full((count,), torch.inf, device=gpu) for count in range(64, 8192, 64)]
        assert torch.equal(kept, fast.labels(first)), len(used)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 8, 8)]
)
def test_anything_but_a_batch_of_bytes_is_refused(net: nn.Module, wrong: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images must be \(N, 3, height, width\) uint8 RGB, not"):
        Predictor(net, CPU, "fp32", MEAN, STD).labels(wrong)
