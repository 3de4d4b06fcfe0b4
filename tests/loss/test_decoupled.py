"""The joint loss of body, edge and final map, and the edges of plain labels."""
from __future__ import annotations

import math

import pytest
import torch

import loss
from loss.decoupled import edges


def test_edges_lie_on_both_sides_of_a_boundary_and_not_around_what_is_ignored() -> None:
    labels = torch.tensor([[[0, 0, 0, 1, 1, 1, 255, 1]]])
    assert edges(labels, 1, 255)[0, 0].tolist() == [False, False, True, True, False, False, False, False]
    assert edges(labels, 2, 255)[0, 0].tolist() == [False, True, True, True, True, False, False, False]


def outputs(size: tuple[int, int] = (8, 8), classes: int = 3, edge: float = 5.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = {"main": torch.randn(2, classes, *size, generator=generator),
            "body": torch.randn(2, classes, size[0] // 2, size[1] // 2, generator=generator),
            "edge": torch.full((2, 1, *size), edge)}
    return {name: each.requires_grad_() for name, each in draw.items()}


def labels(size: tuple[int, int] = (8, 8)) -> torch.Tensor:
    halves = torch.zeros(2, *size, dtype=torch.long)
    halves[:, :, size[1] // 2:] = 2
    return halves


def test_each_part_is_its_own_term_and_reaches_its_own_output() -> None:
    given = outputs()
    terms = loss.JointBodyEdgeLoss(loss.CrossEntropy())(given, labels())
    assert set(terms) == {"main", "body", "edge", "edge_main"}
    torch.testing.assert_close(terms["main"], loss.CrossEntropy()(given, labels())["main"])
    relaxed = loss.RelaxedCrossEntropy(bound=0.0)({"main": given["body"]}, labels())["main"]
    torch.testing.assert_close(terms["body"], relaxed)
    for name, reached in (("body", "body"), ("edge", "edge"), ("edge_main", "main")):
        gradients = torch.autograd.grad(terms[name], list(given.values()), retain_graph=True, allow_unused=True)
        assert [each is not None for each in gradients] == [each == reached for each in given]


def test_the_edge_term_by_hand() -> None:
    # radius 2 around the middle of 8 columns: half of the pixels are edges. All logits 5: 25 times the mean of
    # log(1 + e^-5) where there is an edge and 5 + log(1 + e^-5) where there is none
    term = loss.JointBodyEdgeLoss(loss.CrossEntropy())(outputs(), labels())["edge"]
    assert term.item() == pytest.approx(25 * (math.log1p(math.exp(-5)) + 2.5), rel=1e-5)


def test_the_final_map_is_trained_at_the_hardest_pixels_that_are_told_to_be_edges() -> None:
    given = outputs()
    term = loss.JointBodyEdgeLoss(loss.CrossEntropy(), hard_share=0.25)(given, labels())["edge_main"]
    losses = torch.nn.functional.cross_entropy(given["main"], labels(), reduction="none").flatten()
    torch.testing.assert_close(term, losses.sort(descending=True).values[:32].mean())
    assert loss.JointBodyEdgeLoss(loss.CrossEntropy())(outputs(edge=1.0), labels())["edge_main"] == 0    # 0.73 < 0.8


def test_the_gradient_is_the_finite_difference() -> None:
    given = {name: each.detach().double().requires_grad_() for name, each in outputs((4, 6), edge=1.0).items()}
    criterion = loss.JointBodyEdgeLoss(loss.CrossEntropy(), edge_thresh=0.5)

    def total(*values: torch.Tensor) -> torch.Tensor:
        return sum(criterion(dict(zip(given, values, strict=True)), labels((8, 12))).values())

    assert torch.autograd.gradcheck(total, tuple(given.values()))


def test_all_ignored_costs_nothing_and_teaches_nothing() -> None:
    given = outputs()
    total = sum(loss.JointBodyEdgeLoss(loss.OhemCrossEntropy())(given, torch.full((2, 8, 8), 255)).values())
    total.backward()
    assert total == 0 and all((each.grad == 0).all() for each in given.values())


def test_a_network_without_body_and_edge_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a network with body and edge outputs .* not only main"):
        loss.JointBodyEdgeLoss(loss.CrossEntropy())({"main": outputs()["main"]}, labels())


def test_all_terms_that_select_no_pixels_add_up_over_shares_of_a_batch() -> None:
    given, true = outputs(), labels()
    true[0, :3] = 255
    criterion = loss.SumOfLosses([loss.JointBodyEdgeLoss(loss.CrossEntropy()), loss.DiceLoss()])
    whole, divide_by = criterion(given, true), criterion.normalizers(true)
    assert whole.keys() == divide_by.keys()
    assert {name for name, each in divide_by.items() if each is None} == {"edge_main", "dice"}
    shares = [({name: each[i:i + 1] for name, each in given.items()}, true[i:i + 1]) for i in range(2)]
    for name in ("main", "body", "edge"):
        parts = [criterion(*share)[name] * criterion.normalizers(share[1])[name] for share in shares]
        torch.testing.assert_close(sum(parts) / divide_by[name], whole[name])
