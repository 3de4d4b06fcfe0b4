"""Static quantization of an ONNX file to 8 bits after training, calibrated on training images."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from network.alignment import FLOW_CONVOLUTION
from utils.backends import openvino_files
from utils.backends.formats import INPUT
from utils.packages import require_package

# the split to calibrate on
SPLIT = "train"
# Convolutions, and the operators between them that runtimes compute in 8 bits.
QUANTIZED = ("Conv", "Add", "Concat", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool",
             "Resize")
CALIBRATION_SEED = 0


def calibration_indices(count: int, available: int) -> list[int]:
    """Returns the sorted indices of `count` images drawn at random; of all if there are fewer."""
    drawn = np.random.default_rng(CALIBRATION_SEED).permutation(available)[:count]
    return sorted(int(index) for index in drawn)


def quantize(path: Path, images: Iterable[Tensor]) -> None:
    """Quantizes the convolutions of an ONNX file to 8 bits (QuantizeLinear, DequantizeLinear).

    Weights become int8 with one scale per output channel, activations uint8 with the range that
    they have on the images. `_kept_in_float` says what stays in float32.

    Args:
        images: inputs of the file.

    Raises:
        ValueError: the file has no convolution that could be quantized.
    """
    import onnx
    from onnxruntime import quantization

    model = onnx.load(path)
    kept = _kept_in_float(model.graph)
    if not any(node.op_type == "Conv" and node.name not in kept for node in model.graph.node):
        raise ValueError(f"--int8: {path.name} has no convolution besides its first and its "
                         "classifier, so nothing can be quantized: leave --int8 out.")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._images, None)
            return None if batch is None else {INPUT: batch.numpy()}

    with _silent():
        quantization.quantize_static(
            str(path), str(path), Reader(), quant_format=quantization.QuantFormat.QDQ,
            per_channel=True, activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8, op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=sorted(kept))
    quantized = onnx.load(path)
    # the quantizer adds an entry that is not JSON
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    onnx.save_model(quantized, str(path))


def require_nncf() -> None:
    """Raises ValueError if NNCF, which quantizes OpenVINO files, is not installed or is broken."""
    # it reports its use over the network otherwise
    os.environ.setdefault("NNCF_CI", "1")
    require_package("nncf", needed_by="--int8 with --format openvino", extra="int8")


def quantize_openvino(path: Path, images: Iterable[Tensor]) -> Any:
    """Returns the `openvino.Model` of an ONNX file with its convolutions in 8 bits.

    NNCF also corrects the biases of the convolutions, so that the mean of their outputs stays.
    `_kept_in_float` says what stays in float32.

    Args:
        images: inputs of the file.
    """
    require_nncf()
    import nncf

    nncf.set_log_level(logging.ERROR)
    model = openvino_files.read_onnx(path)
    kept = kept_by_openvino(path, model)
    batches = [image.numpy() for image in images]
    return nncf.quantize(
        model, nncf.Dataset(batches), subset_size=len(batches),
        preset=nncf.QuantizationPreset.MIXED, target_device=nncf.TargetDevice.CPU,
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False))


def kept_by_openvino(path: Path, model: Any) -> list[str]:
    """Returns the names that the nodes of `_kept_in_float` have in OpenVINO, sorted.

    Args:
        model: the `openvino.Model` of the ONNX file `path`.
    """
    import onnx

    graph = onnx.load(path).graph
    kept = _kept_in_float(graph)
    tensors = {output for node in graph.node if node.name in kept for output in node.output}
    names: set[str] = set()
    for node in model.get_ops():
        if any(not tensors.isdisjoint(output.get_names()) for output in node.outputs()):
            names.add(node.get_friendly_name())
            # A convolution with a bias is split into a convolution, whose output has no name in the
            # ONNX file, and an addition.
            names.update(value.get_node().get_friendly_name() for value in node.input_values()
                         if value.get_node().get_type_name() == "Convolution"
                         and not value.get_names())
    return sorted(names)


def _kept_in_float(graph: Any) -> set[str]:
    """Returns the names of the nodes that are not quantized.

    - The convolutions that read the image: they have few of the operations, and all later layers
      inherit the rounding of the image and of their weights (results/speed.md has the labels that
      each part of a network loses).
    - The classifier, a convolution that no other convolution follows.
    - The convolutions that compute a flow field, and all nodes between these and the next
      convolution: sampling needs positions finer than 256 steps.
    """
    return _first_convolutions(graph) | _flow_and_classifier(graph)


def _first_convolutions(graph: Any) -> set[str]:
    """Returns the names of the convolutions whose input depends on no other convolution."""
    first: set[str] = set()
    # tensors that depend on a convolution
    following: set[str] = set()
    # the nodes of a file are in the order of their computation
    for node in graph.node:
        follows = not following.isdisjoint(node.input)
        if node.op_type == "Conv" and not follows:
            first.add(node.name)
        if follows or node.op_type == "Conv":
            following.update(node.output)
    return first


def _flow_and_classifier(graph: Any) -> set[str]:
    """Returns the names of the classifier and the flow fields, up to the next convolution."""
    kept: set[str] = set()
    # tensors on which a later convolution depends
    leading: set[str] = set()
    for node in reversed(graph.node):
        is_followed = any(output in leading for output in node.output)
        if node.op_type == "Conv" and (not is_followed or FLOW_CONVOLUTION in node.input[1]):
            kept.add(node.name)
        if is_followed or node.op_type == "Conv":
            leading.update(node.input)
    # tensors that nodes in float32 compute
    floats: set[str] = set()
    for node in graph.node:
        if node.name in kept or (node.op_type != "Conv" and not floats.isdisjoint(node.input)):
            kept.add(node.name)
            floats.update(node.output)
    return kept


@contextmanager
def _silent() -> Iterator[None]:
    """Silences the quantizer, which advises an optimization that the exporter has already done."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


# format -> what quantizes its ONNX file on images
QUANTIZERS: dict[str, Callable[[Path, Iterable[Tensor]], Any]] = {
    "onnx": quantize, "onnx-gather": quantize, "openvino": quantize_openvino}


def quantizer(format_name: str, images: Iterable[Tensor]) -> Callable[[Path], Any]:
    """Returns what quantizes the ONNX file of a format, see `Request.quantize`.

    Args:
        images: inputs of the file, to calibrate on.
    """
    quantize_file = QUANTIZERS[format_name]
    return lambda path: quantize_file(path, images)
