"""Convolutions in 8 bits: static quantization of an ONNX file after training, calibrated on
training images.
"""
from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from network.alignment import FLOW_CONVOLUTION
from tools.export.formats import INPUT

FORMATS = ("onnx", "onnx-gather")
# the images to calibrate on
SPLIT = "train"
# Convolutions, and what runtimes compute in 8 bits between two of them.
QUANTIZED = (
    "Conv", "Add", "Concat", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize",
)
CALIBRATION_SEED = 0


def chosen(count: int, available: int) -> list[int]:
    """Returns the indices of the images to calibrate on: all where there are not more, else some
    drawn at random.
    """
    drawn = np.random.default_rng(CALIBRATION_SEED).permutation(available)[:count]
    return sorted(int(index) for index in drawn)


def quantize(path: Path, images: Iterable[Tensor]) -> None:
    """Rewrites an ONNX file of `formats` with convolutions in 8 bits, as pairs of QuantizeLinear
    and DequantizeLinear.

    Weights are int8 with a scale for each output channel, activations uint8 with the range that
    they have in the images. The classifier, the flow fields and the sampling stay in float32.

    Args:
        images: batches that the file takes.

    Raises:
        ValueError: the file has no convolution that could be quantized.
    """
    import onnx
    from onnxruntime import quantization

    model = onnx.load(path)
    kept = _kept_in_float(model.graph)
    if not any(node.op_type == "Conv" and node.name not in kept for node in model.graph.node):
        raise ValueError(
            f"--int8: {path.name} has no convolution besides its classifier, so nothing can be "
            "quantized: leave --int8 out."
        )

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._images, None)
            return None if batch is None else {INPUT: batch.numpy()}

    with _without_advice():
        quantization.quantize_static(
            str(path), str(path), Reader(), quant_format=quantization.QuantFormat.QDQ,
            per_channel=True, activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8, op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=sorted(kept),
        )
    quantized = onnx.load(path)
    # the quantizer adds a note that is no JSON
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    onnx.save_model(quantized, str(path))


def _kept_in_float(graph: Any) -> set[str]:
    """Returns the names of the convolutions that no other follows, of those that make a flow field,
    and of all that comes after these up to the next convolution: the places of a sampling are finer
    than 256 steps.
    """
    kept: set[str] = set()
    # tensors from which a convolution is reached
    leading: set[str] = set()
    # a file's nodes are in the order of their computation
    for node in reversed(graph.node):
        followed = any(output in leading for output in node.output)
        if node.op_type == "Conv" and (not followed or FLOW_CONVOLUTION in node.input[1]):
            kept.add(node.name)
        if followed or node.op_type == "Conv":
            leading.update(node.input)
    # tensors that come after
    floats: set[str] = set()
    for node in graph.node:
        if node.name in kept or (node.op_type != "Conv" and not floats.isdisjoint(node.input)):
            kept.add(node.name)
            floats.update(node.output)
    return kept


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keeps the quantizer from advising an optimization that the exporter has done already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
