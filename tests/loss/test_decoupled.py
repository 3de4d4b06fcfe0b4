"""The joint loss of body, edge and final map, and the edges of labels."""
from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import loss
from loss.decoupled import edges


def outputs(
    size: tuple[int, int] = (8, 8), classes: int = 3, edge: float = 5.0
) -> dict[str, Tensor]:
    """Returns two images' outputs, with all edge logits equal to `edge`."""
    generator = torch.Generator().manual_seed(0)
    half = size[0] // 2, size[1] // 2
    tensors = {"main": torch.randn(2, classes, *size, generator=generator),
               "body": torch.randn(2, classes, *half, generator=generator),
               "edge": torch.full((2, 1, *size), edge)}
    return {name: logits.requires_grad_() for name, logits in tensors.items()}


def labels_of_two_halves(size: tuple[int, int] = (8, 8)) -> Tensor:
    labels = torch.zeros(2, *size, dtype=torch.long)
    labels[:, :, size[1] // 2:] = 2
    return labels


@pytest.mark.parametrize(("radius", "expected"), [
    (1, [False, False, True, True, False, False, False, False]),
    (2, [False, True, True, True, True, False, False, False]),
])
def test_edges_lie_on_both_sides_of_a_boundary_but_not_around_ignored_pixels(
        radius: int, expected: list[bool]) -> None:
    labels = torch.tensor([[[0, 0, 0, 1, 1, 1, 255, 1]]])
    assert edges(labels, radius, 255)[0, 0].tolist() == expected


@pytest.mark.parametrize("radius", [1, 3, 9])
def test_a_pixel_is_an_edge_if_the_square_around_it_holds_two_classes(radius: int) -> None:
    values = torch.tensor([0, 1, 2, 255])
    blocks = values[torch.randint(0, 4, (2, 3, 4), generator=torch.Generator().manual_seed(0))]
    labels = blocks.repeat_interleave(5, 1).repeat_interleave(6, 2)
    found = edges(labels, radius, 255)
    for image, row, column in torch.cartesian_prod(*map(torch.arange, labels.shape)).tolist():
        square = labels[image, max(0, row - radius):row + radius + 1,
                        max(0, column - radius):column + radius + 1]
        classes = set(square.flatten().tolist()) - {255}
        assert found[image, row, column] == (len(classes) > 1 and labels[image, row, column] != 255)


def test_each_term_trains_its_output() -> None:
    all_outputs, labels = outputs(), labels_of_two_halves()
    terms = loss.JointBodyEdgeLoss(loss.CrossEntropy())(all_outputs, labels)
    assert set(terms) == {"main", "body", "edge", "edge_main"}
    torch.testing.assert_close(terms["main"], loss.CrossEntropy()(all_outputs, labels)["main"])
    relaxed = loss.RelaxedCrossEntropy(bound=0.0)({"main": all_outputs["body"]}, labels)["main"]
    torch.testing.assert_close(terms["body"], relaxed)
    for term, output in (("body", "body"), ("edge", "edge"), ("edge_main", "main")):
        gradients = torch.autograd.grad(terms[term], list(all_outputs.values()), retain_graph=True,
                                        allow_unused=True)
        trained = [gradient is not None for gradient in gradients]
        assert trained == [name == output for name in all_outputs]


def test_the_edge_term_by_hand() -> None:
    # Radius 2 around the middle of 8 columns: half of the pixels are edges. All logits are 5: 25
    # times the mean of log(1 + e^-5) at edges and 5 + log(1 + e^-5) elsewhere.
    term = loss.JointBodyEdgeLoss(loss.CrossEntropy())(outputs(), labels_of_two_halves())["edge"]
    assert term.item() == pytest.approx(25 * (math.log1p(math.exp(-5)) + 2.5), rel=1e-5)


def test_the_final_map_is_trained_at_the_hardest_pixels_that_are_predicted_as_edges() -> None:
    all_outputs, labels = outputs(), labels_of_two_halves()
    criterion = loss.JointBodyEdgeLoss(loss.CrossEntropy(), hard_share=0.25)
    losses = torch.nn.functional.cross_entropy(all_outputs["main"], labels, reduction="none")
    hardest = losses.flatten().sort(descending=True).values[:32]
    torch.testing.assert_close(criterion(all_outputs, labels)["edge_main"], hardest.mean())
    # sigmoid(1) = 0.73 is below the threshold of 0.8
    no_edges = loss.JointBodyEdgeLoss(loss.CrossEntropy())(outputs(edge=1.0), labels)
    assert no_edges["edge_main"] == 0


def test_the_gradient_is_the_finite_difference() -> None:
    double = {name: logits.detach().double().requires_grad_()
              for name, logits in outputs((4, 6), edge=1.0).items()}
    criterion = loss.JointBodyEdgeLoss(loss.CrossEntropy(), edge_thresh=0.5)
    labels = labels_of_two_halves((8, 12))

    def total(*logits: Tensor) -> Tensor:
        terms = criterion(dict(zip(double, logits, strict=True)), labels)
        return sum(terms.values())

    assert torch.autograd.gradcheck(total, tuple(double.values()))


def test_ignored_labels_give_no_loss_and_no_gradient() -> None:
    all_outputs = outputs()
    criterion = loss.JointBodyEdgeLoss(loss.OhemCrossEntropy())
    total = sum(criterion(all_outputs, torch.full((2, 8, 8), 255)).values())
    total.backward()
    assert total == 0
    assert all((logits.grad == 0).all() for logits in all_outputs.values())


def test_a_network_without_body_and_edge_is_refused() -> None:
    criterion = loss.JointBodyEdgeLoss(loss.CrossEntropy())
    with pytest.raises(
        ValueError, match=r"needs a network with body and edge outputs .* not only main"
    ):
        criterion({"main": outputs()["main"]}, labels_of_two_halves())
