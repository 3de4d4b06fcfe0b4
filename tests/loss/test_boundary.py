from __future__ import annotations

import math

import pytest
import torch

from loss.boundary import BoundaryLoss

IGNORED = 255


def test_edge_and_other_pixels_have_the_weight_worked_out_by_hand() -> None:
    # six pixels in a row, of which the two beside the border are an edge of 2 pixels: n_e / n = 1/3
    labels = torch.tensor([[[0, 0, 0, 1, 1, 1]]])
    # a loss of log(1 + e^-2) at every edge pixel and log 2 at the others
    logits = torch.tensor([[[[0.0, 0.0, 2.0, 2.0, 0.0, 0.0]]]])
    edge, other = math.log1p(math.exp(-2)), math.log(2)
    expected = (2 / 3 * 2 * edge + 1 / 3 * 4 * other) / 6
    term = BoundaryLoss(20.0, width=2)({"boundary": logits}, labels)["boundary"]
    assert term.item() == pytest.approx(20 * expected)


def test_a_wider_edge_has_half_of_its_width_in_each_class() -> None:
    labels = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1]]])
    sure = torch.tensor([[[[-9.0, -9.0, 9.0, 9.0, 9.0, 9.0, -9.0, -9.0]]]])
    right = BoundaryLoss(width=4)({"boundary": sure}, labels)["boundary"]
    wrong = BoundaryLoss(width=2)({"boundary": sure}, labels)["boundary"]
    assert right < 1e-3 < wrong


@pytest.mark.parametrize("labels", [[0, 0, IGNORED, IGNORED, 0, 0], [IGNORED] * 6, [1] * 6])
def test_without_an_edge_the_loss_and_its_gradient_are_0(labels: list[int]) -> None:
    """The border of an ignored region is no edge."""
    logits = torch.randn(1, 1, 1, 6).requires_grad_()
    term = BoundaryLoss(width=2)({"boundary": logits}, torch.tensor([[labels]]))["boundary"]
    term.backward()
    assert term.item() == 0 and logits.grad is not None and logits.grad.abs().sum() == 0


def test_ignored_pixels_have_no_gradient() -> None:
    labels = torch.tensor([[[0, 0, 1, 1, IGNORED, IGNORED]]])
    logits = torch.zeros(1, 1, 1, 6).requires_grad_()
    BoundaryLoss(width=2)({"boundary": logits}, labels)["boundary"].backward()
    assert logits.grad is not None
    assert (logits.grad.flatten() != 0).tolist() == [True] * 4 + [False] * 2


def test_edges_are_those_of_the_labels_at_their_own_size() -> None:
    labels = torch.zeros(1, 8, 8).long()
    labels[..., 4:] = 1
    term = BoundaryLoss()({"boundary": torch.zeros(1, 1, 2, 2)}, labels)["boundary"]
    # half of the pixels are edges: every pixel has the weight 1/2 and the loss log 2
    assert term.item() == pytest.approx(math.log(2) / 2)


def test_outputs_without_a_boundary_are_refused() -> None:
    with pytest.raises(ValueError, match="needs the output boundary"):
        BoundaryLoss()({"main": torch.zeros(1, 2, 4, 4)}, torch.zeros(1, 4, 4).long())
