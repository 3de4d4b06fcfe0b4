from __future__ import annotations

import torch

from utils.batches import grouped


def test_neighbors_of_one_size_share_a_batch_and_the_order_stays() -> None:
    sizes = [(2, 3), (2, 3), (2, 3), (4, 3), (2, 3), (2, 3)]
    single = [{"image": torch.full((1, 3, *size), i), "label": torch.full((1, *size), i), "name": [str(i)]}
              for i, size in enumerate(sizes)]
    found = list(grouped(single, 2))
    assert [batch["name"] for batch in found] == [["0", "1"], ["2"], ["3"], ["4", "5"]]
    assert [tuple(batch["label"].shape) for batch in found] == [(2, 2, 3), (1, 2, 3), (1, 4, 3), (2, 2, 3)]
    assert all(int(image[0, 0, 0]) == int(name) for batch in found
               for image, name in zip(batch["image"], batch["name"], strict=True))
