"""RandAugment: the label moves with the image, and the draws are the sample's."""
from __future__ import annotations

import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import transforms
from transforms import RandAugment, TransformOptions
from transforms.geometry import IMAGENET_GRAY
from transforms.randaugment import COLORS, MOVES, NAMES, augmented, count_and_magnitude
from utils import IGNORE_LABEL
from utils.cli import FlagParser

pytest.importorskip("torchvision", reason="RandAugment computes with torchvision")

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 24, 33, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 5, (4, 24, 33), dtype=np.uint8)


def tensors(image: np.ndarray, label: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(label)


def ramp(height: int = 40, width: int = 51) -> tuple[torch.Tensor, torch.Tensor]:
    """An image whose channels are its rows and columns, and a label that is its column."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return tensors(np.dstack([rows, columns, rows]), columns.copy())


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("strength", [-1.0, 0.3, 1.0])
def test_the_label_moves_with_the_image(name: str, strength: float) -> None:
    source, labels = ramp()
    image, label = (tensor.numpy() for tensor in augmented(source, labels, f"{name}:{strength}"))
    kept = label != IGNORE_LABEL
    assert 0.3 < kept.mean() < 1
    # at the border the fill mixes in
    border = np.ones((3, 3), np.uint8)
    inside = cv2.erode(kept.astype(np.uint8), border, borderValue=0).astype(bool)
    # bilinear and nearest differ by half a pixel, and by as much of rounding
    assert np.abs(image[1].astype(int) - label)[inside].max() <= 1
    outside = cv2.erode((~kept).astype(np.uint8), border, borderValue=0).astype(bool)
    assert (image[:, outside].T == IMAGENET_GRAY).all()
    # rows and columns
    assert (image[:2] != source[:2].numpy()).any(0).mean() > 0.3


@pytest.mark.parametrize("name", ["identity", *COLORS])
def test_operations_on_colors_leave_the_label(name: str) -> None:
    image, label = augmented(*tensors(IMAGES[0], LABELS[0]), f"{name}:0.8")
    assert (label.numpy() == LABELS[0]).all()
    assert image.shape == (3, 24, 33) and image.dtype == torch.uint8
    # the noise fills the range already
    is_neutral = name in ("identity", "autocontrast")
    assert (image.permute(1, 2, 0).numpy() == IMAGES[0]).all() == is_neutral


@pytest.mark.parametrize(("operation", "level"), [
    # 100 (1 + 0.9 / 3) = 130
    ("brightness:0.3333333333333333", 130),
    # above 255 (1 - 0.7) = 76.5, levels are inverted: 255 - 100
    ("solarize:0.7", 155),
    # the 4 highest bits of 100 = 0b01100100
    ("posterize:1.0", 96),
    ("rotate:0.5", 100),
])
def test_a_strength_is_a_value_by_the_table_of_torchvision(operation: str, level: int) -> None:
    image = torch.full((3, 9, 9), 100, dtype=torch.uint8)
    assert augmented(image, torch.zeros(9, 9, dtype=torch.uint8), operation)[0][0, 4, 4] == level


def test_a_translation_is_a_shift_by_whole_pixels() -> None:
    source, labels = ramp()
    image, label = augmented(source, labels, "translate_x:0.5")
    # 150 / 331 * 0.5 * 51 = 11.6
    assert torch.equal(image[:, :, 12:], source[:, :, :-12])
    assert torch.equal(label[:, 12:], labels[:, :-12]) and (label[:, :12] == IGNORE_LABEL).all()


def test_every_operation_is_drawn_with_both_signs_where_it_has_two() -> None:
    randaugment = RandAugment(3, 15)
    drawn = [operation for seed in range(300) for operation in randaugment.draw(rng(seed)).split()]
    assert len(drawn) == 900
    signed = {*MOVES, *(name for name, operation in COLORS.items() if operation.is_signed)}
    assert {*drawn} == {f"{name}:0.5" for name in NAMES} | {f"{name}:-0.5" for name in signed}


def test_a_batch_on_the_device_is_what_the_loader_would_have_made() -> None:
    randaugment = RandAugment(2, 20)
    batch, labels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2), torch.from_numpy(LABELS)
    for seed in range(0, 40, 4):
        operations = [randaugment.draw(rng(seed + number)) for number in range(4)]
        images, moved = randaugment.apply(batch, labels, operations)
        for number in range(4):
            image, label = randaugment(IMAGES[number], LABELS[number], None, rng(seed + number))
            assert image.flags.c_contiguous
            assert (images[number].permute(1, 2, 0).numpy() == image).all()
            assert (moved[number].numpy() == label).all()
    assert (batch.permute(0, 2, 3, 1).numpy() == IMAGES).all()


def test_the_sample_is_the_same_in_the_loader_and_on_the_device() -> None:
    options = TransformOptions((20, 24), randaugment=(2, 9))
    whole, _ = transforms.build(options)
    geometry, device = transforms.build(replace(options, augment_on="device"))
    assert device is not None
    for seed in range(12):
        expected, label = whole(IMAGES[0], LABELS[0], None, rng(seed))
        generator = rng(seed)
        crop, crop_label = tensors(*geometry(IMAGES[0], LABELS[0], None, generator))
        drawn = device.draw(generator)
        batch = {"image": crop[None], "label": crop_label[None], "name": ["a"],
                 "operations": [drawn["operations"]], "color": drawn["color"][None],
                 "blur": drawn["blur"][None]}
        ready = device.augment(batch)
        assert (ready["label"][0].numpy() == label).all() and ready["name"] == ["a"]
        difference = np.abs(ready["image"][0].permute(1, 2, 0).numpy() - expected.astype(float))
        # the documented tolerance of color and blur
        assert difference.max() <= 2


def test_the_number_of_threads_changes_nothing() -> None:
    image = np.random.default_rng(2).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    label = np.zeros((300, 400), np.uint8)
    randaugment, threads, results = RandAugment(3, 9), torch.get_num_threads(), []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            results.append([randaugment(image, label, None, rng(seed))[0] for seed in range(6)])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert all((one == other).all() for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_crops_are_augmented(name: str, size: tuple[int, int]) -> None:
    image, label = augmented(torch.full((3, *size), 9, dtype=torch.uint8),
                             torch.zeros(size, dtype=torch.uint8), f"{name}:1.0")
    assert image.shape == (3, *size) and label.shape == size


def test_the_flag_is_a_count_and_a_magnitude(capsys: pytest.CaptureFixture[str]) -> None:
    parser = FlagParser()
    transforms.add_flags(parser)
    args = parser.parse_args(["--randaugment", "3:7", "--crop_size", "8"])
    assert TransformOptions.from_args(args).randaugment == (3, 7) == count_and_magnitude("3:7")
    # as a JSON file of flags holds it
    args.randaugment = [3, 7]
    assert TransformOptions.from_args(args).randaugment == (3, 7)
    with pytest.raises(SystemExit):
        parser.parse_args(["--randaugment", "9"])
    assert "'9' is not N:M" in capsys.readouterr().err


@pytest.mark.parametrize("value", [(0, 9), (2, 31), (2, -1)])
def test_numbers_out_of_range_are_refused(value: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"--randaugment \d+:-?\d+ is out of range: give N:M"):
        TransformOptions((8, 8), randaugment=value)


def test_without_torchvision_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    TransformOptions((8, 8))
    with pytest.raises(ValueError, match=r"--randaugment .*pip install torchvision"):
        TransformOptions((8, 8), randaugment=(2, 9))
