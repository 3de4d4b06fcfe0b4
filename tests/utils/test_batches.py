from __future__ import annotations

import torch

from utils.batches import grouped, normalize, prepare

CPU = torch.device("cpu")
GRAY = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_images_are_normalized_by_hand() -> None:
    images = torch.tensor([0, 127.5, 255]).to(torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    found = normalize(images, *GRAY)[0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([-2.0, (127 / 255 - 0.5) / 0.25, 2.0]))


def test_a_batch_is_prepared_and_its_names_stay() -> None:
    batch = {
        "image": torch.zeros(2, 3, 4, 6, dtype=torch.uint8),
        "label": torch.full((2, 4, 6), 255).to(torch.uint8),
        "name": ["a", "b"],
    }
    ready = prepare(batch, CPU, *GRAY, channels_last=True)
    assert ready["image"].is_contiguous(memory_format=torch.channels_last)
    assert ready["label"].dtype == torch.int64 and ready["label"].unique().tolist() == [255]
    assert ready["name"] == ["a", "b"] and batch["image"].dtype == torch.uint8


def test_neighbors_of_one_size_share_a_batch_and_the_order_stays() -> None:
    sizes = [(2, 3), (2, 3), (2, 3), (4, 3), (2, 3), (2, 3)]
    single = [
        {
            "image": torch.full((1, 3, *size), i),
            "label": torch.full((1, *size), i),
            "name": [str(i)],
        }
        for i, size in enumerate(sizes)
    ]
    found = list(grouped(single, 2))
    assert [batch["name"] for batch in found] == [["0", "1"], ["2"], ["3"], ["4", "5"]]
    assert [tuple(batch["label"].shape) for batch in found] == [
        (2, 2, 3),
        (1, 2, 3),
        (1, 4, 3),
        (2, 2, 3),
    ]
    assert all(
        int(image[0, 0, 0]) == int(name)
        for batch in found
        for image, name in zip(batch["image"], batch["name"], strict=True)
    )
