from __future__ import annotations

import torch

from network.heads.pspnet import PSPHead

MAPS = [torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(level))
        for level in range(3)]


@torch.no_grad()
def test_main_is_the_classified_pyramid_of_the_coarsest_map() -> None:
    head = PSPHead((4, 4, 4), 3).eval()
    torch.testing.assert_close(head(MAPS)["main"], head.conv_last(head.ppm(MAPS[-1])))


def test_the_auxiliary_classifier_reads_the_second_coarsest_map() -> None:
    head = PSPHead((4, 4, 4), 3, deep_supervision=True)
    assert list(head(MAPS)) == ["main", "aux0"]
    assert head.dsn is not None
    head.dsn.eval()
    torch.testing.assert_close(head(MAPS)["aux0"], head.dsn(MAPS[-2]))
    assert list(head.eval()(MAPS)) == ["main"]


def test_the_classifiers_are_declared() -> None:
    head = PSPHead((4, 4, 4), 3, deep_supervision=True)
    assert head.classifier_names() == ["conv_last.1", "dsn.4"]
