from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
import network
from tests.onnx_here import need_onnx
from tools.benchmark import __main__ as benchmark
from tools.benchmark import exported
from tools.export import __main__ as export
from tools.export import int8
from tools.export.graph import Graph
from tools.export.scores import score

need_onnx()
onnx = pytest.importorskip("onnx")
Export = Callable[..., int]
SIZE = 64, 96


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth pictures in CamVid's layout: six to train on, larger than the rest, and two to
    score.
    """
    folder, rng = tmp_path_factory.mktemp("camvid"), np.random.default_rng(0)
    for split, count, (height, width) in (("train", 6, (90, 120)), ("val", 2, SIZE)):
        (folder / split).mkdir()
        (folder / f"{split}annot").mkdir()
        for i in range(count):
            image = cv2.resize(rng.integers(0, 256, (5, 9, 3), np.uint8), (width, height))
            label = cv2.resize(
                rng.integers(0, 12, (4, 6), np.uint8), (width, height),
                interpolation=cv2.INTER_NEAREST,
            )
            cv2.imwrite(str(folder / split / f"{i}.png"), image)
            cv2.imwrite(str(folder / f"{split}annot/{i}.png"), label)
    return folder


@pytest.fixture(scope="module")
def run(snapshot: Path) -> Export:
    return lambda *flags: export.main(
        ["--snapshot", str(snapshot), "--size", "64x96", *map(str, flags)]
    )


@pytest.fixture(scope="module")
def written(run: Export, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "net.onnx"
    assert run(
        "--format", "onnx", "--int8", "--data_root", root, "--calibration_images", "5",
        "--out", path,
    ) == 0
    return path


def test_convolutions_compute_in_int8_and_places_in_float32(written: Path) -> None:
    graph = onnx.load(written).graph
    maker = {output: node for node in graph.node for output in node.output}
    integer = {
        initializer.name
        for initializer in graph.initializer
        if initializer.data_type == onnx.TensorProto.INT8
    }
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    in_float = [node.input[1] for node in convolutions
                if maker.get(node.input[1]) is None or maker[node.input[1]].input[0] not in integer]
    assert len(convolutions) > 30
    assert [name for name in in_float if "flow_make" not in name] == ["net.head.conv_last.1.weight"]
    # the classifier, and the flow to each of two levels
    assert len(in_float) == 3
    for node in graph.node:
        if node.op_type == "GridSample":
            assert maker[node.input[1]].op_type != "DequantizeLinear"
    facts = {each.key: json.loads(each.value) for each in onnx.load(written).metadata_props}
    assert (facts["precision"], facts["arch"]) == ("int8", "sfnet_dfnetv1")


def test_the_cost_is_printed_in_miou_and_equal_labels(run: Export, root: Path, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    assert run(
        "--format", "pt2", "--out", tmp_path / "net.pt2", "--score", "val", "--data_root", root
    ) == 0
    said = capsys.readouterr().out
    assert "camvid val, 2 images: mIoU" in said
    assert "+0.00 points; 100.000 % equal labels" in said


def test_a_file_of_open_sizes_is_checked_at_two_and_calibrated_without_labels(
        run: Export, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root / "train", tmp_path / "bare/train")
    assert run(
        "--format", "onnx", "--int8", "--dynamic", "--data_root", tmp_path / "bare",
        "--calibration_images", "2", "--out", tmp_path / "net.onnx",
    ) == 0
    said = capsys.readouterr().out
    assert (
        said.count("1x3x64x96 in onnxruntime") == 2 and said.count("2x3x64x64 in onnxruntime") == 1
    )


def test_a_later_image_of_another_size_is_named(root: Path, tmp_path: Path) -> None:
    for folder in ("val", "valannot"):
        shutil.copytree(root / folder, tmp_path / folder)
        shutil.copy(root / folder.replace("val", "train") / "0.png", tmp_path / folder / "late.png")
    spec = datasets.spec("camvid")
    graph = Graph(
        network.build("sfnet_dfnetv1", spec.num_classes), spec.mean, spec.std, "normalized",
        "labels",
    )
    with pytest.raises(ValueError, match="late is 90x120, but the file takes 64x96 only"):
        score(graph, graph, datasets.build(spec, tmp_path, "val"), SIZE)


def test_an_int8_file_is_measured_beside_the_network_that_it_was_made_of(
        written: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "infer", "--size", "64x96", "--rounds", "1", "--warm_up", "1", "--no_memory", "--snapshot",
        str(snapshot),
    ]
    assert benchmark.main([*flags, "--settings", f"onnx:{written}"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if f"onnx:{written}" in line)
    # % equal labels: close to the plain network, not it
    assert 80 < float(row.split()[-5]) < 100
    assert benchmark.main([*flags, "--settings", f"onnx:{written}", "--batch", "2"]) == 2
    assert "takes batches of 1 and 64x96 only" in capsys.readouterr().err


def test_a_file_of_another_network_is_not_measured(written: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="its arch is sfnet_dfnetv1, and sfnet_resnet18 is measured"
    ):
        exported.labels(written, "sfnet_resnet18", host_copies=False)
    with pytest.raises(ValueError, match="its input is normalized, and rgb is measured"):
        exported.labels(written, "sfnet_dfnetv1", host_copies=True)
    with pytest.raises(ValueError, match="there is no such file"):
        exported.labels(tmp_path / "absent.onnx", "sfnet_dfnetv1", host_copies=False)


def test_a_file_that_the_export_did_not_write_is_not_measured(
    written: Path, tmp_path: Path
) -> None:
    (tmp_path / "damaged.onnx").write_bytes(written.read_bytes()[:5000])
    foreign = onnx.load(written)
    onnx.helper.set_model_props(foreign, {"arch": "another", "author": "somebody"})
    onnx.save(foreign, tmp_path / "foreign.onnx")
    for name in ("damaged", "foreign"):
        with pytest.raises(
            ValueError, match=rf"{name}.onnx is damaged, or not made by python -m tools.export \("
        ):
            exported.labels(tmp_path / f"{name}.onnx", "sfnet_dfnetv1", host_copies=False)


def test_calibration_draws_the_same_images_each_time_and_none_twice() -> None:
    drawn = int8.chosen(32, 367)
    assert drawn == int8.chosen(32, 367)
    assert len(set(drawn)) == 32 and drawn == sorted(drawn) and drawn != list(range(32))
    assert int8.chosen(32, 5) == [0, 1, 2, 3, 4]


def test_a_network_without_anything_to_quantize_is_refused(tmp_path: Path) -> None:
    helper, weight = onnx.helper, np.ones((2, 3, 1, 1), np.float32)
    sides = [1, 3, 4, 4]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "weight"], ["logits"], name="classifier")], "graph",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 2, 4, 4])],
        [onnx.numpy_helper.from_array(weight, "weight")])
    onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="no convolution besides its classifier"):
        int8.quantize(tmp_path / "net.onnx", [])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--format", "pt2", "--out", "net.pt2", "--int8"],
            "--int8 writes ONNX: give --format onnx or onnx-gather",
        ),
        (["--format", "onnx", "--out", "net.onnx", "--int8"], "needs --data_root"),
        (["--format", "onnx", "--out", "net.onnx", "--int8", "--data_root", "nowhere"], "nowhere"),
        (
            ["--format", "onnx", "--out", "net.onnx", "--data_root", "ROOT"],
            "read by --int8 and --score only",
        ),
        (
            ["--format", "onnx", "--out", "net.onnx", "--data_root", "ROOT", "--score", "train"],
            "0 is 90x120, but the file takes 64x96 only: export with --size 90x120",
        ),
        (
            ["--format", "onnx", "--out", "net.onnx", "--data_root", "ROOT", "--score", "nights"],
            "nights",
        ),
    ],
)
def test_mistakes_are_told_before_the_network_is_traced(
    flags: list[str], message: str, run: Export, root: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*(str(root) if flag == "ROOT" else flag for flag in flags)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_lost_too_much_is_not_kept(run: Export, root: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(export, "INT8", export.INT8._replace(equal=1.0))
    path = tmp_path / "net.onnx"
    assert run(
        "--format", "onnx", "--int8", "--data_root", root, "--calibration_images", "1",
        "--out", path,
    ) == 1
    assert (
        "by more than is tolerable: it was not kept. Try more --calibration_images"
        in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []
