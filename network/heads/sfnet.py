"""SFNet's decoder, the aligned feature pyramid (arXiv 2002.10120, figure 3), and its baseline."""
from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from network.alignment import BilinearUpsample, FlowAlignment
from network.context import make_context
from network.layers import auxiliary_classifier, conv_bn_relu
from network.model import Head
from network.pyramid_fusion import Fusion


class SFNetHead(Head):
    """Context on the coarsest map, a top-down path with flow alignment, and a fusion of all levels.

    With the lateral maps L_i and the context P_n, from coarse to fine,

        P_i = L_i + FAM_i(P_(i+1), L_i),
        main = classifier(cat(out_0(P_0), up(out_1(P_1)), ..., up(P_n))).

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        channels: width of the pyramid.
        num_classes: K.
        deep_supervision: adds an auxiliary classifier at each level of the top-down path.
        fam_levels: levels i at which FAM_i is a flow alignment, 0 is the finest; None stands for
            all. At the others it is bilinear resizing (the paper's ablation).
        final_fams: whether `up` in the last fusion is a flow alignment too, as in the paper's
            figure; in the published networks it is bilinear resizing.
        context: "ppm", or "sum" for the lighter pyramid pooling.

    Raises:
        ValueError: a level of `fam_levels` does not exist, or `context` is unknown.
    """

    # FAM of the formula above, built as `flow_alignment(channels, flow_channels)`; a subclass may
    # name another class.
    flow_alignment = FlowAlignment

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int, *,
                 deep_supervision: bool = False, fam_levels: Sequence[int] | None = None,
                 final_fams: bool = False, context: str = "ppm") -> None:
        super().__init__()
        finer = in_channels[:-1]
        levels = range(len(finer))
        aligned = levels if fam_levels is None else fam_levels
        if any(level not in levels for level in aligned):
            raise ValueError(f"fam_levels={tuple(aligned)} names a level that does not exist: "
                             f"the levels here are 0 (the finest) to {len(finer) - 1}")
        # The attribute names are the published checkpoints' keys; none has `fuse_align`.
        self.ppm = make_context(context, in_channels[-1], channels)
        self.fpn_in = nn.ModuleList(
            conv_bn_relu(width, channels, 1, bias=True) for width in finer)
        self.fpn_out = nn.ModuleList(
            nn.Sequential(conv_bn_relu(channels, channels, 3)) for _ in levels)
        self.fpn_out_align = nn.ModuleList(
            self._upsampling(channels, level in aligned) for level in levels)
        self.fuse_align = nn.ModuleList(
            self._upsampling(channels, True) for _ in levels if final_fams)
        self.dsn = nn.ModuleList()
        if deep_supervision:
            self.dsn.extend(auxiliary_classifier(channels, channels, num_classes) for _ in levels)
        self.conv_last = Fusion(len(in_channels) * channels, channels, num_classes)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Returns the logits.

        Args:
            maps: (N, C_i, H_i, W_i), fine to coarse.

        Returns:
            `main` (N, K, H_0, W_0); in training mode with deep supervision also `aux0`, `aux1`,
            ... from coarse to fine, at the sizes of their levels.
        """
        pyramid, aux = self._top_down(maps)
        finest, *coarser = pyramid
        if self.fuse_align:
            aligned = [align(level, finest)
                       for align, level in zip(self.fuse_align, coarser, strict=True)]
            main = self.conv_last([finest, *aligned])
        else:
            main = self.conv_last([finest], coarser)
        return {"main": main, **{f"aux{i}": logits for i, logits in enumerate(aux)}}

    def _top_down(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the pyramid (N, C, H_i, W_i), fine to coarse, and the auxiliary logits.

        A separate method, so that its intermediate maps are freed before the last fusion, where
        memory peaks.
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

    def _upsampling(self, channels: int, by_flow: bool) -> nn.Module:
        """Returns a module that brings a coarse map to the size of a fine map of the same width."""
        return self.flow_alignment(channels, channels // 2) if by_flow else BilinearUpsample()


class FPNHead(SFNetHead):
    """The baseline of SFNet's paper: the same pyramid, with resizing in place of flow alignment."""

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int, *,
                 deep_supervision: bool = False, context: str = "ppm") -> None:
        super().__init__(in_channels, channels, num_classes, deep_supervision=deep_supervision,
                         fam_levels=(), context=context)
