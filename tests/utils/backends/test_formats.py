from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import pytest
import torch

import network
from network.checkpoints.weights import published_state_dict
from tests.onnx_here import need_onnx
from tests.openvino_here import need_openvino
from tests.tools.demo.conftest import picture
from tests.tools.export.conftest import MEAN, SPEC, STD, Export
from tools.demo import __main__ as demo
from tools.export import __main__ as export
from utils.backends import formats
from utils.backends.graph import ExportModule, trace

SFNETS = [name for name in network.names() if name.startswith("sfnet_")]

BASELINES = [name for name in network.names() if name not in SFNETS]


def test_an_onnx_file_of_any_size_says_what_it_is_and_computes_the_same(
    run: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_onnx()
    import onnx

    path = tmp_path / "deeper" / "net.onnx"
    assert run("--format", "onnx", "--out", path, "--dynamic", "--input", "rgb", "--opset",
               "16") == 0
    said = capsys.readouterr().out
    assert re.search(r"1x3x64x96 in onnxruntime: \d+\.\d+ % equal labels; the network's logits of "
                     r"two differing labels differ by at most \d", said)
    assert "2x3x64x64 in onnxruntime" in said
    # what onnx's own optimizers have to say
    assert "unused nodes" not in said
    model = onnx.load(path)
    assert {each.domain: each.version for each in model.opset_import}[""] == 16
    axes = [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)]
    assert axes == [["batch", 3, "height", "width"], ["batch", "height", "width"]]
    assert "GridSample" in {node.op_type for node in model.graph.node}
    facts = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert facts["classes"] == list(SPEC.names)
    assert facts["palette"] == SPEC.palette.tolist()
    assert (facts["arch"], facts["input"], facts["output"]) == ("sfnet_dfnetv1", "rgb", "labels")
    # no half-written file beside it
    assert list(path.parent.iterdir()) == [path]


def test_an_openvino_file_alone_runs_the_demo_and_weights_in_float16_halve_it(
    run: Export, snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_openvino()
    path = tmp_path / "net.xml"
    flags = ["--format", "openvino", "--dynamic", "--output", "coarse", "--out"]
    assert run(*flags, path) == 0
    said = capsys.readouterr().out
    assert re.search(r"2x3x64x64 in OpenVINO: \d+\.\d+ % equal labels; logits differ by at", said)
    assert run(*flags, tmp_path / "half" / "net.xml", "--compress_to_fp16") == 0
    sizes = [(folder / "net.bin").stat().st_size for folder in (tmp_path / "half", tmp_path)]
    assert sizes[0] < 0.6 * sizes[1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["half", "net.bin", "net.xml"]

    picture(tmp_path / "a.png", 70, 110)
    shown = ["--input", str(tmp_path / "a.png"), "--precision", "fp32", "--write", "label_ids"]
    for source, backend in ((path, "auto"), (snapshot, "torch")):
        assert demo.main([*shown, "--snapshot", str(source), "--backend", backend, "--out",
                          str(tmp_path / backend)]) == 0
    assert "in fp32 on cpu by openvino" in capsys.readouterr().out
    maps = [cv2.imread(str(tmp_path / backend / "label_ids/a.png"), 0)
            for backend in ("auto", "torch")]
    assert (maps[0] == maps[1]).mean() > 0.999


def test_a_file_without_grid_sample_gives_logits(run: Export, tmp_path: Path) -> None:
    need_onnx()
    import onnx

    assert run("--format", "onnx-gather", "--out", tmp_path / "net.onnx", "--output", "logits") == 0
    model = onnx.load(tmp_path / "net.onnx")
    assert {node.op_type for node in model.graph.node} & {"GridSample", "Gather"} == {"Gather"}
    assert [side.dim_value
            for side in model.graph.output[0].type.tensor_type.shape.dim] == [1, 11, 64, 96]


def test_a_program_of_torch_export_is_read_back(run: Export, tmp_path: Path) -> None:
    assert run("--format", "pt2", "--out", tmp_path / "net.pt2", "--dynamic") == 0
    extra = {formats.METADATA: ""}
    loaded = torch.export.load(tmp_path / "net.pt2", extra_files=extra).module()
    assert loaded(torch.zeros(3, 3, 70, 130)).shape == (3, 70, 130)
    assert json.loads(json.loads(extra[formats.METADATA])["mean"]) == list(MEAN)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_compiled_package_is_read_back(run: Export, tmp_path: Path, dynamic: bool) -> None:
    assert run("--format", "aoti", "--out", tmp_path / "net.pt2",
               *(["--dynamic"] if dynamic else [])) == 0


def exported(arch: str, folder: Path, *flags: str) -> int:
    """Exports random weights to ONNX files or programs that are checked at small sizes."""
    if flags[0].startswith("onnx"):
        need_onnx()
    torch.manual_seed(0)
    net = network.build(arch, SPEC.num_classes)
    torch.save({"arch": arch, "dataset": "camvid", "state_dict": published_state_dict(net)},
               folder / "net.pth")
    out = folder / f"out{formats.FORMATS[flags[0]].suffix}"
    return export.main(["--snapshot", str(folder / "net.pth"), "--out", str(out), "--size",
                        "128x192", "--format", *flags])


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", ["onnx", "onnx-gather"])
@pytest.mark.parametrize("arch", SFNETS)
def test_every_sfnet_gives_the_labels_of_torch(arch: str, name: str, dynamic: bool,
                                               tmp_path: Path) -> None:
    assert exported(arch, tmp_path, name, *(["--dynamic"] if dynamic else [])) == 0


@pytest.mark.parametrize(("arch", "name"), [("fpn_dfnetv1", "onnx"), ("dfsegnet_dfnetv1", "pt2")])
def test_the_small_baselines_give_the_labels_of_torch(arch: str, name: str, tmp_path: Path) -> None:
    assert exported(arch, tmp_path, name, "--dynamic") == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "onnx-gather", "pt2"])
@pytest.mark.parametrize("arch", [*BASELINES, "sfnet_timm:resnet18d", "sfnet_lite_timm:resnet18d"])
def test_every_other_network_gives_the_labels_of_torch(arch: str, name: str,
                                                       tmp_path: Path) -> None:
    if "timm" in arch:
        pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    assert exported(arch, tmp_path, name, "--dynamic") == 0


def test_what_torch_or_a_runtime_refuses_is_said_in_a_line(
    run: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need_onnx()

    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError(
            "SymIntArrayRef expected to contain only concrete integers\nlisting of the graph"
        )

    monkeypatch.setattr(torch.onnx, "export", fails)
    assert run("--format", "onnx", "--out", tmp_path / "net.onnx") == 2
    said = capsys.readouterr().err
    assert ("cannot write this network as ONNX (RuntimeError: SymIntArrayRef expected to contain "
            "only concrete integers): " in said)
    assert "listing" not in said
    monkeypatch.setitem(formats.FORMATS, "pt2", formats.FORMATS["pt2"]._replace(open=fails))
    assert run("--format", "pt2", "--out", tmp_path / "net.pt2") == 1
    assert "torch.export's loader refuses what torch" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_onnx_that_is_not_installed_is_named_with_its_extra(
    run: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert run("--format", "onnx", "--out", tmp_path / "net.onnx") == 2
    assert ("needs onnxruntime, which is not installed: pip install '.[export]'"
            in capsys.readouterr().err)


def test_a_torch_that_is_too_old_for_onnx_is_named(
    run: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need_onnx()
    monkeypatch.setattr(torch, "__version__", "2.6.0+cpu")
    assert run("--format", "onnx-gather", "--out", tmp_path / "net.onnx") == 2
    assert ("needs torch 2.9 or newer, and this is 2.6.0+cpu: upgrade it, or give"
            in capsys.readouterr().err)


def test_a_package_needs_a_compiler(run: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert run("--format", "aoti", "--out", tmp_path / "net.pt2") == 2
    assert "--format aoti needs a C++ compiler" in capsys.readouterr().err


def test_an_opset_that_was_not_written_is_refused(tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    need_onnx()
    real = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export",
                        lambda *args, opset_version, **kwargs: real(*args, opset_version=18,
                                                                    **kwargs))
    module = ExportModule(network.build("sfnet_dfnetv1", 3), MEAN, STD, "normalized", "labels")
    request = formats.Request(module, trace(module, (32, 32), (), "net"), {}, opset=16)
    message = r"wrote opset 18 and could not convert it to --opset 16"
    with pytest.raises(ValueError, match=message):
        formats.FORMATS["onnx"].write(request, tmp_path / "net.onnx")
