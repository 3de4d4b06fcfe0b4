"""Color on the device is what the loader would have done, by the same draws."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import transforms
from transforms import ColorJitter, GaussianBlur, GpuColorAugmentation, TransformOptions
from utils.batches import denormalize, prepare

RNG = np.random.default_rng(0)
IMAGES = np.stack(
    [
        RNG.integers(0, 256, (40, 48, 3), dtype=np.uint8),
        np.full((40, 48, 3), 90, np.uint8),
        np.kron(RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)),
    ]
)
LABEL = np.zeros((40, 48), np.uint8)


def batch_of(color: GpuColorAugmentation, seeds: range) -> dict[str, torch.Tensor]:
    drawn = [color.draw(np.random.default_rng(seed)) for seed in seeds]
    images = torch.from_numpy(IMAGES[[seed % len(IMAGES) for seed in seeds]]).permute(0, 3, 1, 2)
    return {
        "image": images,
        **{name: torch.stack([one[name] for one in drawn]) for name in drawn[0]},
    }


@pytest.mark.parametrize(
    ("jitter", "blur"),
    [
        (ColorJitter(), GaussianBlur(0.7)),
        (ColorJitter(), None),
        (None, GaussianBlur(1.0)),
        (None, None),
    ],
)
def test_the_device_does_what_the_loader_would_have(
    jitter: ColorJitter | None, blur: GaussianBlur | None
) -> None:
    color, seeds = GpuColorAugmentation(jitter, blur), range(24)
    batch = batch_of(color, seeds)
    ours = color.apply(images=batch["image"], color=batch["color"], blur=batch["blur"])
    for seed in seeds:
        expected, rng = IMAGES[seed % len(IMAGES)], np.random.default_rng(seed)
        for step in filter(None, (jitter, blur)):
            expected, _ = step(expected, LABEL, None, rng)
        difference = np.abs(ours[seed].permute(1, 2, 0).numpy() - expected.astype(float))
        assert difference.max() <= 2  # the documented tolerance, in levels of 255
        assert difference.mean() <= 0.5


def test_an_image_that_is_not_to_be_blurred_stays() -> None:
    color = GpuColorAugmentation(None, GaussianBlur())
    batch = batch_of(color, range(4))
    changed = color.apply(batch["image"], batch["color"], torch.tensor([0.0, 1.0, 0.0, 0.15]))
    assert torch.equal(changed[0], batch["image"][0].float())
    assert torch.equal(changed[2], batch["image"][2].float())
    assert not torch.equal(changed[1], batch["image"][1].float()) or (IMAGES[1] == 90).all()
    assert (changed[3] - batch["image"][3]).abs().max() < 1e-3     # exp(-0.5 / 0.15**2) = 2e-10


def test_prepare_changes_colors_before_it_normalizes() -> None:
    color = GpuColorAugmentation(ColorJitter(), GaussianBlur(1.0))
    batch = batch_of(color, range(3))
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    ready = prepare(batch, torch.device("cpu"), mean, std, augment=color.augment)
    expected = color.apply(batch["image"], batch["color"], batch["blur"])
    assert torch.equal(denormalize(ready["image"], mean, std), expected.round().to(torch.uint8))
    assert batch["image"].dtype == torch.uint8


def test_the_loaders_half_keeps_geometry_alone() -> None:
    whole, nothing = transforms.build(TransformOptions((8, 8)))
    geometry, color = transforms.build(TransformOptions((8, 8), augment_on="device"))
    assert nothing is None
    assert color is not None
    parts = [*geometry.transforms, color.jitter, color.blur]
    assert list(map(type, parts)) == list(map(type, whole.transforms))
    assert len(parts) == 4


def test_the_loader_makes_the_same_draws_either_way() -> None:
    options = TransformOptions((40, 48), scale_min=1, scale_max=1, flip=False, gblur_prob=1.0)
    whole, _ = transforms.build(options)
    geometry, color = transforms.build(replace(options, augment_on="device"))
    assert color is not None
    expected, _ = whole(IMAGES[0], LABEL, None, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    image, _ = geometry(IMAGES[0], LABEL, None, rng)
    drawn = {name: value[None] for name, value in color.draw(rng).items()}
    changed = color.apply(torch.from_numpy(image).permute(2, 0, 1)[None], **drawn)
    assert np.abs(changed[0].permute(1, 2, 0).numpy() - expected.astype(float)).max() <= 2
