"""The label map is the arg max of full-size logits."""
from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.evaluation import label_map as module
from utils.evaluation.label_map import label_map
from utils.resizing import source_positions

LabelMap = Callable[[Tensor, tuple[int, int]], Tensor]


def argmax_of_full_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=True).argmax(1)


def scene(*shape: int) -> Tensor:
    """Smooth logits: a few classes in patches, as a trained network gives them."""
    generator = torch.Generator().manual_seed(0)
    small = torch.randn(*shape[:2], 3, 4, generator=generator)
    return F.interpolate(small, size=shape[2:], mode="bicubic") * 4


@pytest.mark.parametrize(
    "function", [module._label_map_by_neighbors, module._label_map_by_chunks, label_map]
)
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 5, 16, 32), (61, 125)),
        ((2, 3, 16, 16), (32, 99)),
        ((1, 4, 17, 9), (17, 40)),
        ((2, 6, 1, 1), (7, 9)),
        ((1, 3, 2, 1), (5, 1)),
        ((1, 3, 40, 50), (11, 13)),
        ((1, 3, 9, 9), (9, 9)),
    ],
)
def test_labels_are_those_of_full_size_logits(
    function: LabelMap,
    shape: tuple[int, ...],
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHUNK_VALUES", {"cpu": 500})  # many chunks even in a tiny map
    monkeypatch.setattr(module, "MAX_MIXED", 1.0)
    monkeypatch.setattr(module, "MOSTLY_MIXED", 1.0)
    logits = scene(*shape)
    labels = function(logits, size)
    assert (labels.dtype, labels.shape) == (torch.uint8, (shape[0], *size))
    assert torch.equal(labels.long(), argmax_of_full_size(logits, size))


def test_noise_is_left_to_the_chunks() -> None:
    noise = torch.randn(1, 9, 20, 20, generator=torch.Generator().manual_seed(0))
    assert module._label_map_by_neighbors(noise, (80, 80)) is None
    assert torch.equal(label_map(noise, (80, 80)).long(), argmax_of_full_size(noise, (80, 80)))


def test_mixed_cells_by_hand() -> None:
    # of the 2 x 3 squares, the two that touch the 1 differ
    classes = torch.tensor([[[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]], dtype=torch.uint8)
    assert module._mixed_cells(classes) == pytest.approx(2 / 6)
    assert not module._mixed_cells(classes[:, :1]) > 0


def test_only_pixels_between_argmax_are_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    # Columns 0 to 3 of class 0, 4 to 7 of class 1: of 8 columns resized to 71, ten to a step, nine
    # lie between.
    logits = torch.zeros(1, 2, 8, 8)
    logits[:, 0, :, :4] = logits[:, 1, :, 4:] = 1
    resized: list[int] = []
    real = module._argmax
    monkeypatch.setattr(
        module, "_argmax", lambda values: resized.append(values.numel()) or real(values)
    )
    labels = label_map(logits, (71, 71))
    assert torch.equal(labels[0, 5].long(), (torch.arange(71) > 35).long())
    assert sum(resized[1:]) <= 2 * 71 * 10 < 2 * 71 * 71 / 3


@pytest.mark.parametrize("count", [1, 10_000])
def test_few_and_many_pixels_have_the_logits_of_full_size(count: int) -> None:
    # (N, H, w) are 2 x 61 x 32 = 3,904 positions
    logits = scene(2, 5, 16, 32)
    full = F.interpolate(logits, size=(61, 125), mode="bilinear", align_corners=True)
    pixels = torch.arange(2 * 61 * 125)
    rows, columns = (source_positions(source, target, logits.device)
                     for source, target in ((16, 61), (32, 125)))
    resized = module._pixel_resizer(logits, rows, columns, count)(pixels)
    torch.testing.assert_close(resized, full.permute(0, 2, 3, 1).reshape(-1, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("logits", [
    scene(2, 5, 16, 32), torch.randn(1, 5, 16, 32, generator=torch.Generator().manual_seed(0))])
def test_threads_change_no_label(logits: Tensor, threads: Callable[[int], None],
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_VALUES", {"cpu": 500})
    threads(1)
    expected = label_map(logits, (61, 125))
    threads(3)
    with torch.inference_mode():
        assert torch.equal(label_map(logits, (61, 125)), expected)


def test_half_precision_logits_are_resized_in_float32() -> None:
    logits = scene(1, 5, 16, 16).bfloat16()
    assert torch.equal(label_map(logits, (64, 64)).long(), argmax_of_full_size(logits, (64, 64)))


@pytest.mark.gpu
def test_a_gpu_gives_the_labels_of_a_cpu(gpu: torch.device) -> None:
    logits = scene(2, 19, 32, 64)
    labels = label_map(logits.to(gpu), (128, 256)).cpu()
    assert (labels == label_map(logits, (128, 256))).float().mean() > 0.9999
