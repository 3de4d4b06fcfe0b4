from __future__ import annotations

from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network import alignment
from network.alignment import FlowAlignment, GatedDualFlowAlignment, recorded_flows, warp
from network.layers import resize


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(3, 4), (6, 8), (7, 11), (1, 1)])
def test_zero_flow_is_bilinear_resizing(size: tuple[int, int]) -> None:
    features = random(2, 5, 3, 4)
    warped = warp(features, torch.zeros(2, 2, *size))
    torch.testing.assert_close(warped, resize(features, size), atol=1e-6, rtol=1e-6)


def test_a_flow_of_two_units_times_the_side_over_side_less_one_is_one_pixel() -> None:
    # The grid spans 2 over width - 1 pixels and the flow is divided by width: a pixel is
    # 2 width / (width - 1) units.
    features = random(1, 1, 4, 5)
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 0] = 2 * 5 / 4
    warped = warp(features, flow)[..., :-1]
    torch.testing.assert_close(warped, features[..., 1:], atol=1e-6, rtol=1e-6)
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 1] = 2 * 4 / 3
    warped = warp(features, flow)[..., :-1, :]
    torch.testing.assert_close(warped, features[..., 1:, :], atol=1e-6, rtol=1e-6)


def test_zeros_are_sampled_from_outside() -> None:
    flow = torch.full((1, 2, 4, 5), 100.0)
    assert warp(torch.ones(1, 1, 4, 5), flow).abs().max() == 0


def test_a_half_of_a_pixel_is_the_mean_of_two() -> None:
    features = torch.tensor([[[[1.0, 3.0, 7.0]]]])
    flow = torch.zeros(1, 2, 1, 3)
    flow[:, 0] = 0.5 * 2 * 3 / 2
    # (1 + 3) / 2, (3 + 7) / 2, (7 + 0) / 2: outside is zero
    torch.testing.assert_close(warp(features, flow), torch.tensor([[[[2.0, 5.0, 3.5]]]]))


def test_the_grid_stays_in_float32_under_half_precision() -> None:
    features, flow = random(1, 1, 8, 1024), torch.zeros(1, 2, 8, 1024)
    low = warp(features.bfloat16(), flow.bfloat16())
    assert low.dtype == torch.bfloat16
    assert torch.equal(low, warp(features.bfloat16().float(), flow).bfloat16())


def test_flow_is_made_of_the_upsampled_coarse_map_then_the_fine_one() -> None:
    module = FlowAlignment(4, 2)
    coarse, fine = random(1, 4, 3, 4), random(1, 4, 6, 8, seed=1)
    upsampled = resize(F.conv2d(coarse, module.down_h.weight), (6, 8))
    projected = F.conv2d(fine, module.down_l.weight)
    flow = F.conv2d(torch.cat([upsampled, projected], 1), module.flow_make.weight, padding=1)
    torch.testing.assert_close(module.flow(coarse, fine), flow)
    torch.testing.assert_close(module(coarse, fine), warp(coarse, flow))


def test_a_subclass_whose_flow_has_other_channels_is_refused() -> None:
    class Masked(FlowAlignment):
        num_flows = 3

    with pytest.raises(ValueError, match=r"Masked\.num_flows is 3, .*convolution of its own"):
        Masked(4, 2)


def test_both_maps_get_a_gradient() -> None:
    coarse = random(1, 4, 3, 4).requires_grad_()
    fine = random(1, 4, 6, 8, seed=1).requires_grad_()
    module = FlowAlignment(4, 2)
    module(coarse, fine).square().sum().backward()
    grads = [coarse.grad, fine.grad, *(parameter.grad for parameter in module.parameters())]
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads)


def test_without_aligned_corners_zero_flow_is_sampled_half_a_pixel_off() -> None:
    # The outermost positions are the outer edges of the pixels, so they average the corner with
    # the zeros outside.
    corner = warp(torch.ones(1, 1, 4, 4), torch.zeros(1, 2, 4, 4), align_corners=False)[0, 0]
    torch.testing.assert_close(corner[0], torch.tensor([0.25, 0.5, 0.5, 0.25]))


def test_gated_dual_flow_alignment_is_the_published_formula() -> None:
    module = GatedDualFlowAlignment(4, 2)
    coarse, fine = random(1, 4, 3, 4), random(1, 4, 6, 8, seed=1)
    upsampled = resize(F.conv2d(coarse, module.down_h.weight), (6, 8))
    projected = F.conv2d(fine, module.down_l.weight)
    flow = F.conv2d(torch.cat([upsampled, projected], 1), module.flow_make.weight, padding=1)
    statistics = torch.cat([upsampled.mean(1, True), fine.mean(1, True),
                            upsampled.max(1, True)[0], fine.max(1, True)[0]], 1)
    gate = torch.sigmoid(F.conv2d(statistics, module.flow_gate[0].weight, padding=1))
    expected = gate * warp(coarse, flow[:, :2]) + (1 - gate) * warp(fine, flow[:, 2:])
    torch.testing.assert_close(module(coarse, fine), expected)


def test_without_flow_and_with_an_even_gate_both_maps_are_averaged() -> None:
    module = GatedDualFlowAlignment(4, 2)
    torch.nn.init.zeros_(module.flow_make.weight)
    # sigmoid(0) = 1 / 2
    torch.nn.init.zeros_(module.flow_gate[0].weight)
    coarse, fine = random(1, 4, 3, 4), random(1, 4, 6, 8, seed=1)
    average = (resize(coarse, (6, 8)) + fine) / 2
    torch.testing.assert_close(module(coarse, fine), average, atol=1e-6, rtol=1e-5)


def test_the_grid_of_a_size_is_made_once_and_serves_training_after_inference() -> None:
    alignment._cached_grid.cache_clear()
    flow = torch.zeros(1, 2, 7, 5, requires_grad=True)
    with torch.inference_mode():
        first = warp(torch.ones(1, 1, 4, 4), flow)
    warp(torch.ones(1, 1, 4, 4), flow).sum().backward()
    assert torch.equal(first, torch.ones(1, 1, 7, 5))
    assert flow.grad is not None
    assert alignment._cached_grid.cache_info().hits == 1


def test_a_grid_that_a_cuda_graph_reads_is_never_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "_cached_grid", lru_cache(maxsize=1)(alignment._make_grid))
    monkeypatch.setattr(alignment, "_captured_grid", lru_cache(None)(alignment._cached_grid))
    monkeypatch.setattr(alignment, "_is_captured", lambda flow: flow.shape[-1] == 5)
    for width in (5, 6, 7, 5):
        warp(torch.ones(1, 1, 4, 4), torch.zeros(1, 2, 7, width))
    grid = alignment._captured_grid(7, 5, torch.device("cpu"), torch.float32)
    # the first width 5 made it; the other widths have evicted it from the first cache
    assert alignment._captured_grid.cache_info().misses == 1
    assert alignment._cached_grid.cache_info().misses == 3
    assert grid.shape == (7, 5, 2)


class TwoAlignments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.align = nn.ModuleList([FlowAlignment(4, 2), GatedDualFlowAlignment(4, 2)])

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return self.align[1](self.align[0](coarse, fine), fine)


@pytest.mark.parametrize("compiled", [False, True])
def test_flows_are_recorded_by_name_and_only_inside(compiled: bool) -> None:
    net, coarse, fine = TwoAlignments(), random(1, 4, 3, 4), random(1, 4, 6, 8)
    if compiled:
        net.compile(backend="eager")
    with recorded_flows(net) as flows:
        out = net(coarse, fine)
    assert {name: tuple(flow.shape) for name, flow in flows.items()} == {
        "align.0": (1, 2, 6, 8), "align.1": (1, 4, 6, 8)}
    torch.testing.assert_close(flows["align.0"], net.align[0].flow(coarse, fine))
    kept = flows["align.0"]
    torch.testing.assert_close(net(-coarse, fine).shape, out.shape)
    assert flows["align.0"] is kept
    with recorded_flows(nn.Conv2d(1, 1, 1)) as none:
        pass
    assert none == {}
