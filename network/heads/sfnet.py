"""SFNet's decoder: the aligned feature pyramid (arXiv 2002.10120, figure 3), and the plain one that it improves on."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from network.alignment import BilinearUpsample, FlowAlignment
from network.context import make_context
from network.layers import Fusion, auxiliary_classifier, conv_bn_relu


class SFNetHead(nn.Module):
    """Context on the coarsest map, then a top-down path through flow alignment, and all levels fused at the finest.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        channels: width of the pyramid.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier at each level of the top-down path, used in training only.
        fam_levels: levels onto which the coarser map is brought by flow alignment, 0 the finest; all when None. The
            others are reached by plain resizing (the paper's ablation).
        final_fams: aligns the levels for the last fusion as well, which the paper's figure has and the published
            networks have not.
        context: "ppm", or "sum" for the lighter pyramid pooling.

    Raises:
        ValueError: `fam_levels` names a level that the pyramid has not, or `context` is unknown.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int, *,
                 deep_supervision: bool = False, fam_levels: Sequence[int] | None = None, final_fams: bool = False,
                 context: str = "ppm") -> None:
        super().__init__()
        finer = in_channels[:-1]
        levels = range(len(finer)) if fam_levels is None else fam_levels
        if any(level not in range(len(finer)) for level in levels):
            raise ValueError(f"fam_levels is {tuple(levels)}, but flow alignment leads to levels 0 (the finest) to "
                             f"{len(finer) - 1} here (--fam_levels)")
        # The attribute names are the published checkpoints' keys, but for `fuse_align`, which none has.
        self.ppm = make_context(context, in_channels[-1], channels)
        self.fpn_in = nn.ModuleList(conv_bn_relu(width, channels, 1, bias=True) for width in finer)
        self.fpn_out = nn.ModuleList(nn.Sequential(conv_bn_relu(channels, channels, 3)) for _ in finer)
        self.fpn_out_align = nn.ModuleList(_align(channels, level in levels) for level in range(len(finer)))
        self.fuse_align = nn.ModuleList(_align(channels, final_fams) for _ in finer)
        self.dsn = nn.ModuleList(
            auxiliary_classifier(channels, channels, num_classes) for _ in finer if deep_supervision)
        self.conv_last = Fusion(len(in_channels) * channels, channels, num_classes)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Maps (N, C_i, H_i, W_i), fine to coarse -> logits `main` at the finest map's size; in training mode with
        deep supervision also `aux0`, `aux1`, ... at their levels' sizes, coarse first."""
        levels, aux = self._top_down(maps)
        finest, *coarser = levels
        raised = [align(level, finest) for align, level in zip(self.fuse_align, coarser, strict=True)]
        return {"main": self.conv_last([finest, *raised]), **{f"aux{i}": each for i, each in enumerate(aux)}}

    def _top_down(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the pyramid's levels (N, C, H_i, W_i), fine to coarse, and in training the auxiliary logits.

        What it needs on its way is freed at its end: memory peaks after it, in the last fusion.
        """
        pyramid = self.ppm(maps[-1])
        levels = [pyramid]
        aux: list[Tensor] = []
        for level in reversed(range(len(self.fpn_in))):
            lateral = self.fpn_in[level](maps[level])
            pyramid = lateral + self.fpn_out_align[level](pyramid, lateral)
            levels.insert(0, self.fpn_out[level](pyramid))
            if self.training and self.dsn:
                aux.append(self.dsn[level](pyramid))
        return levels, aux


class FPNHead(SFNetHead):
    """The baseline of SFNet's paper: the same pyramid with every alignment replaced by plain resizing."""

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int, *,
                 deep_supervision: bool = False, context: str = "ppm") -> None:
        super().__init__(in_channels, channels, num_classes, deep_supervision=deep_supervision, fam_levels=(),
                         context=context)


def _align(channels: int, by_flow: bool) -> nn.Module:
    return FlowAlignment(channels, channels // 2) if by_flow else BilinearUpsample()
