from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from utils.backends import gathers


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 2, 1, 4)])
def test_gathers_sample_as_grid_sample_does(shape: tuple[int, ...], align_corners: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape, generator=generator)
    # some of it outside
    grid = 3 * torch.rand(shape[0], 6, 8, 2, generator=generator) - 1.5
    expected = F.grid_sample(features, grid, align_corners=align_corners)
    torch.testing.assert_close(gathers.sample(features, grid, 0, 0, align_corners), expected)


def test_other_samplings_are_not_written_out() -> None:
    with pytest.raises(ValueError, match="only bilinear sampling with zero padding"):
        gathers.sample(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2), interpolation=1)
