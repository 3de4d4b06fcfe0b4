from __future__ import annotations

from pathlib import Path

import pytest

from tests.onnx_here import need_onnx
from tools.benchmark import __main__ as benchmark
from tools.benchmark import exported
from tools.export import __main__ as export

need_onnx()
onnx = pytest.importorskip("onnx")


def test_an_int8_file_is_measured_beside_the_network_that_it_was_made_of(
        int8_file: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["infer", "--size", "64x96", "--rounds", "1", "--warm_up", "1", "--no_memory",
             "--snapshot", str(snapshot)]
    assert benchmark.main([*flags, "--settings", f"onnx:{int8_file}"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if f"onnx:{int8_file}" in line)
    # % equal labels: close to the plain network, not it
    assert 80 < float(row.split()[-5]) < 100
    assert benchmark.main([*flags, "--settings", f"onnx:{int8_file}", "--batch", "2"]) == 2
    assert "takes batches of 1 and 64x96 only" in capsys.readouterr().err


def test_labels_are_computed_from_a_file_of_logits(
        snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "coarse.onnx"
    assert export.main(["--snapshot", str(snapshot), "--size", "64x96", "--format", "onnx",
                        "--output", "coarse", "--out", str(path)]) == 0
    assert benchmark.main(["infer", "--size", "64x96", "--rounds", "1", "--warm_up", "1",
                           "--no_memory", "--snapshot", str(snapshot),
                           "--settings", f"onnx:{path}"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if f"onnx:{path}" in line)
    # % equal labels
    assert float(row.split()[-5]) > 99.9


def test_a_file_of_another_network_is_not_measured(int8_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError,
                       match="its arch is sfnet_dfnetv1, and sfnet_resnet18 is measured"):
        exported.labels("onnx", int8_file, "sfnet_resnet18", host_copies=False)
    with pytest.raises(ValueError, match="its input is normalized, and rgb is measured"):
        exported.labels("onnx", int8_file, "sfnet_dfnetv1", host_copies=True)
    with pytest.raises(ValueError, match="there is no such file"):
        exported.labels("onnx", tmp_path / "absent.onnx", "sfnet_dfnetv1", host_copies=False)


def test_a_file_that_the_export_did_not_write_is_not_measured(int8_file: Path,
                                                              tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(int8_file.read_bytes()[:5000])
    foreign = onnx.load(int8_file)
    onnx.helper.set_model_props(foreign, {"arch": "another", "author": "somebody"})
    onnx.save(foreign, tmp_path / "foreign.onnx")
    for name in ("damaged", "foreign"):
        with pytest.raises(
            ValueError, match=rf"{name}.onnx is damaged, or not made by python -m tools.export \("
        ):
            exported.labels("onnx", tmp_path / f"{name}.onnx", "sfnet_dfnetv1", host_copies=False)
