from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.onnx_here import need_onnx
from tests.openvino_here import need_openvino
from tests.tools.export.conftest import Export
from tools.export import __main__ as export
from tools.export import int8
from utils.backends import openvino_files

need_onnx()
onnx = pytest.importorskip("onnx")


def test_nncf_that_is_not_installed_is_named_with_its_extra(
    run: Export, camvid_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str]
) -> None:
    need_openvino()
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert run("--format", "openvino", "--int8", "--data_root", camvid_root, "--out",
               tmp_path / "net.xml") == 2
    assert "needs nncf, which is not installed: pip install '.[int8]'" in capsys.readouterr().err


@pytest.mark.slow
def test_an_openvino_file_is_quantized_too(run: Export, camvid_root: Path, tmp_path: Path) -> None:
    need_openvino()
    pytest.importorskip("nncf", reason="pip install '.[int8]' brings it")
    path = tmp_path / "net.xml"
    assert run("--format", "openvino", "--int8", "--data_root", camvid_root, "--out", path,
               "--calibration_images", "5") == 0
    nodes = openvino_files.read_onnx(path).get_ordered_ops()
    convolutions = [node for node in nodes if node.get_type_name() == "Convolution"]
    # weights in 8 bits are scaled by a Multiply
    in_float = [node for node in convolutions
                if node.input_value(1).get_node().get_type_name() == "Constant"]
    # the first, the flow to each of two levels, and the classifier
    assert len(convolutions) > 30 and len(in_float) == 4


@pytest.mark.parametrize("bias", [False, True])
def test_openvino_knows_the_convolutions_in_float_by_other_names(bias: bool,
                                                                 tmp_path: Path) -> None:
    need_openvino()
    path = chain_of_convolutions(tmp_path, "first", "second", "classifier", bias=bias)
    model = openvino_files.read_onnx(path)
    kept = int8.kept_by_openvino(path, model)
    convolutions = [node.get_friendly_name() for node in model.get_ordered_ops()
                    if node.get_type_name() == "Convolution"]
    assert [name in kept for name in convolutions] == [True, False, True]


def test_convolutions_compute_in_int8_and_places_in_float32(int8_file: Path) -> None:
    graph = onnx.load(int8_file).graph
    maker = {output: node for node in graph.node for output in node.output}
    integer = {initializer.name
               for initializer in graph.initializer
               if initializer.data_type == onnx.TensorProto.INT8}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    in_float = [node.input[1] for node in convolutions
                if maker.get(node.input[1]) is None or maker[node.input[1]].input[0] not in integer]
    assert len(convolutions) > 30
    assert [name for name in in_float if "flow_make" not in name] == [
        "net.backbone.stage1.0.weight", "net.head.conv_last.1.weight"]
    # these two, and the flow to each of two levels
    assert len(in_float) == 4
    for node in graph.node:
        if node.op_type == "GridSample":
            assert maker[node.input[1]].op_type != "DequantizeLinear"
    facts = {each.key: json.loads(each.value) for each in onnx.load(int8_file).metadata_props}
    assert (facts["precision"], facts["arch"]) == ("int8", "sfnet_dfnetv1")


def test_a_file_of_open_sizes_is_checked_at_two_and_calibrated_without_labels(
        run: Export, camvid_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(camvid_root / "train", tmp_path / "bare/train")
    assert run("--format", "onnx", "--int8", "--dynamic", "--data_root", tmp_path / "bare",
               "--calibration_images", "2", "--out", tmp_path / "net.onnx") == 0
    said = capsys.readouterr().out
    assert (said.count("1x3x64x96 in onnxruntime") == 2
            and said.count("2x3x64x64 in onnxruntime") == 1)


def test_calibration_draws_the_same_images_each_time_and_none_twice() -> None:
    drawn = int8.calibration_indices(32, 367)
    assert drawn == int8.calibration_indices(32, 367)
    assert len(set(drawn)) == 32 and drawn == sorted(drawn) and drawn != list(range(32))
    assert int8.calibration_indices(32, 5) == [0, 1, 2, 3, 4]


def chain_of_convolutions(folder: Path, *names: str, bias: bool = False) -> Path:
    """Writes an ONNX file of 1x1 convolutions in a row."""
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    nodes, read = [], "images"
    for name in names:
        inputs = [read, "weight", "bias"] if bias else [read, "weight"]
        read = f"{name}_output"
        nodes.append(helper.make_node("Conv", inputs, [read], name=name))
    sides = [1, 3, 4, 4]
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("images", tensor, sides)],
        [helper.make_tensor_value_info(read, tensor, sides)],
        [onnx.numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "weight"),
         onnx.numpy_helper.from_array(np.ones(3, np.float32), "bias")])
    # OpenVINO refuses files of a newer version than it knows
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
              folder / "net.onnx")
    return folder / "net.onnx"


def test_a_network_without_anything_to_quantize_is_refused(tmp_path: Path) -> None:
    path = chain_of_convolutions(tmp_path, "first", "classifier")
    with pytest.raises(ValueError, match="no convolution besides its first and its classifier"):
        int8.quantize(path, [])


@pytest.mark.parametrize(("flags", "message"),
                         [(["--format", "pt2", "--out", "net.pt2", "--int8"],
                           "--int8 writes --format onnx, onnx-gather, openvino, not "),
                          (["--format", "onnx", "--out", "net.onnx", "--int8"],
                           "needs --data_root"),
                          (["--format", "onnx", "--out", "net.onnx", "--int8", "--data_root",
                            "nowhere"],
                           "nowhere"),
                          (["--format", "onnx", "--out", "net.onnx", "--data_root", "ROOT"],
                           "read by --int8 and --score only"),
                          (["--format", "onnx", "--out", "net.onnx", "--data_root", "ROOT",
                            "--score", "train"],
                           "0 is 90x120, but the file takes 64x96 only: export with --size 90x120"),
                          (["--format", "onnx", "--out", "net.onnx", "--data_root", "ROOT",
                            "--score", "nights"],
                           "nights")])
def test_mistakes_are_told_before_the_network_is_traced(
    flags: list[str], message: str, run: Export, camvid_root: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*(str(camvid_root) if flag == "ROOT" else flag for flag in flags)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_lost_too_much_is_not_kept(run: Export, camvid_root: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(export, "INT8", export.INT8._replace(equal=1.0))
    path = tmp_path / "net.onnx"
    assert run("--format", "onnx", "--int8", "--data_root", camvid_root, "--calibration_images",
               "1", "--out", path) == 1
    assert ("by more than is tolerable: it was not kept. Try more --calibration_images"
            in capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
