"""The moving average of the weights."""

from __future__ import annotations

import pytest
from torch import nn

from utils.training.ema import Ema


def test_the_average_moves_by_one_minus_the_decay() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.zeros_(net[0].weight)
    ema = Ema(net, decay=0.9)
    nn.init.ones_(net[0].weight)
    net[1].num_batches_tracked += 7
    ema.update(net, step=1000)  # long past the warm-up
    assert ema.net[0].weight.item() == pytest.approx(0.1)
    ema.update(net, step=0)  # 1 - (1 + 0) / (10 + 0) = 0.9 of the way
    assert ema.net[0].weight.item() == pytest.approx(0.1 + 0.9 * 0.9)
    assert ema.net[1].num_batches_tracked == 7 and not ema.net.training


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="ema_decay"):
        Ema(nn.Linear(1, 1), decay)
