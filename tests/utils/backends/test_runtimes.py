from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

from tests.onnx_here import need_onnx
from tests.openvino_here import TinyNetwork, hide_openvino, need_openvino
from tests.tools.export.conftest import MEAN, STD
from utils.backends import runtimes
from utils.backends.runtimes import BackendOptions, ConvertedNetwork, Runtime
from utils.evaluation.predictor import Predictor
from utils.precision import PrecisionOptions

CPU = torch.device("cpu")
IMAGES = torch.randint(0, 256, (2, 3, 45, 70), dtype=torch.uint8,
                       generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sfsegnets" / "backends"


def build(name: str, net: torch.nn.Module, device: torch.device = CPU,
          precision: str = "fp32") -> Runtime | None:
    return runtimes.build(name, net, MEAN, STD, arch="tiny:net", device=device,
                          precision=precision)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_backend_predicts_what_torch_predicts(name: str, cache: Path) -> None:
    (need_openvino if name == "openvino" else need_onnx)()
    net = TinyNetwork().eval()
    predictor = Predictor(net, CPU, "fp32", MEAN, STD, runtime=build(name, net))
    assert predictor.backend.startswith(f"{name} ")
    expected = Predictor(net, CPU, "fp32", MEAN, STD).logits(IMAGES)
    torch.testing.assert_close(predictor.logits(IMAGES), expected, atol=1e-4, rtol=1e-4)
    assert {path.suffix for path in cache.iterdir()} <= {".onnx", ".xml", ".bin"}


def predict(name: str, net: torch.nn.Module, images: torch.Tensor = IMAGES) -> torch.Tensor:
    """Predicts labels as a program that starts anew."""
    return Predictor(net, CPU, "fp32", MEAN, STD, runtime=build(name, net)).labels(images)


def test_a_network_is_converted_once_for_a_size_and_again_when_its_weights_change(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_onnx()
    net, traced = TinyNetwork().eval(), []
    trace = runtimes.trace
    monkeypatch.setattr(runtimes, "trace",
                        lambda *args, **kwargs: traced.append(args) or trace(*args, **kwargs))
    # another number of images is no other size
    for images in (IMAGES, IMAGES[:1], IMAGES):
        predict("onnxruntime", net, images)
    assert len(traced) == 1
    predict("onnxruntime", net, IMAGES[:, :, :40])
    assert len(traced) == 2
    with torch.no_grad():
        net.features.weight += 1
    predict("onnxruntime", net)
    assert len(traced) == len([*cache.iterdir()]) == 3


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_another_version_of_a_package_converts_a_network_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (need_openvino if name == "openvino" else need_onnx)()
    net = TinyNetwork().eval()

    def stem() -> str:
        runtime = build(name, net)
        assert runtime is not None and isinstance(runtime.run, ConvertedNetwork)
        return runtime.run.stem

    stems = [stem(), stem()]
    assert stems[0] == stems[1]
    for package in ("onnx", name):
        monkeypatch.setattr(sys.modules[package], "__version__", "0.0.0")
        stems.append(stem())
    assert len({*stems}) == 3


def test_torch_runs_where_the_converted_file_is_damaged(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    need_openvino()
    net = TinyNetwork().eval()
    predict("openvino", net)
    [path] = cache.glob("*.xml")
    path.write_bytes(path.read_bytes()[:500])
    assert torch.equal(predict("auto", net), predict("torch", net))
    assert f"cannot open {path}" in caplog.text and "backend torch runs in its place" in caplog.text
    with pytest.raises(ValueError, match=r"cannot open .*: delete it, and the next program"):
        predict("openvino", net)


def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need_onnx()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    predict("onnxruntime", TinyNetwork().eval())
    assert "set XDG_CACHE_HOME to a writable folder" in caplog.text


def test_few_sizes_stay_open(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_onnx()
    monkeypatch.setattr(runtimes, "MOST_OPEN", 2)
    net = TinyNetwork().eval()
    runtime = build("onnxruntime", net)
    assert runtime is not None
    for height in (40, 41, 42, 40):
        runtime.run(torch.zeros(1, 3, height, 64))
    assert [*runtime.run.opened] == [(42, 64), (40, 64)]
    assert len([*cache.iterdir()]) == 3


def test_a_backend_that_cannot_run_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    net = TinyNetwork()
    need_onnx()
    with pytest.raises(ValueError, match=r"onnxruntime runs on the CPU, but this runs on meta"):
        build("onnxruntime", net, torch.device("meta"))
    with pytest.raises(ValueError, match=r"onnxruntime computes in fp32, not in bf16: choose"):
        build("onnxruntime", net, precision="bf16")
    hide_openvino(monkeypatch)
    with pytest.raises(ValueError, match=r"--backend openvino needs absent, .*'\.\[openvino\]'"):
        build("openvino", net)


def test_torch_runs_where_the_preferred_backend_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hide_openvino(monkeypatch)
    assert build("auto", TinyNetwork()) is None
    assert "needs absent, which is not installed" in caplog.text
    assert build("auto", TinyNetwork(), torch.device("meta")) is None
    assert "backend torch: this runs on meta" in caplog.text


def break_openvino(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Makes `import openvino` fail as with a library that is missing."""
    (folder / "openvino.py").write_text("raise ImportError('libtbb.so.12 is missing')\n")
    patch.syspath_prepend(str(folder))
    patch.delitem(sys.modules, "openvino", raising=False)


def test_torch_runs_where_the_preferred_backend_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    break_openvino(tmp_path, monkeypatch)
    assert build("auto", TinyNetwork()) is None
    assert ("backend torch, because --backend openvino needs openvino, which is installed but "
            "cannot be imported (ImportError: libtbb.so.12 is missing): "
            "pip install --force-reinstall --no-deps") in caplog.text
    with pytest.raises(ValueError, match=r"--backend openvino needs openvino, which is installed"):
        build("openvino", TinyNetwork())


def wrong(images: torch.Tensor) -> torch.Tensor:
    """Logits of a runtime that samples wrongly."""
    return torch.rand(len(images), 3, (images.shape[2] + 1) // 2, (images.shape[3] + 1) // 2)


def test_torch_takes_over_from_a_runtime_that_computes_something_else(
    caplog: pytest.LogCaptureFixture
) -> None:
    net = TinyNetwork().eval()
    predictor = Predictor(net, CPU, "fp32", MEAN, STD,
                          runtime=Runtime("openvino", "1", wrong, replaceable=True))
    assert torch.equal(predictor.labels(IMAGES),
                       Predictor(net, CPU, "fp32", MEAN, STD).labels(IMAGES))
    assert "openvino 1 differs from torch on the first image" in caplog.text
    assert predictor.backend == "torch"


def test_a_backend_that_was_asked_for_and_computes_something_else_is_an_error() -> None:
    predictor = Predictor(TinyNetwork().eval(), CPU, "fp32", MEAN, STD,
                          runtime=Runtime("openvino", "1", wrong))
    with pytest.raises(ValueError, match=r"differs from torch .*: give --backend torch"):
        predictor.labels(IMAGES)


def test_flags_of_torch_leave_the_choice_to_torch() -> None:
    assert BackendOptions("auto").resolve(PrecisionOptions(exact=True)) == "torch"
    assert BackendOptions("openvino").resolve(PrecisionOptions()) == "openvino"
    with pytest.raises(ValueError, match=r"--exact is for torch: leave it out, or --backend"):
        BackendOptions("openvino").resolve(PrecisionOptions(exact=True))


def test_an_evaluation_does_not_choose_by_itself() -> None:
    parser = ArgumentParser()
    runtimes.add_flags(parser, automatic=False)
    assert parser.parse_args([]).backend == "torch"
    with pytest.raises(SystemExit):
        parser.parse_args(["--backend", "auto"])


def test_a_backend_of_one_precision_sets_it_unless_another_is_named() -> None:
    assert runtimes.suited(PrecisionOptions(), "onnxruntime").precision == "fp32"
    assert runtimes.suited(PrecisionOptions("bf16"), "onnxruntime").precision == "bf16"
    for name in ("torch", "auto", "openvino"):
        assert runtimes.suited(PrecisionOptions(), name).precision is None


def test_the_preferred_backend_is_the_default_for_the_sizes_that_it_has_converted(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    need_openvino()
    caplog.set_level(logging.INFO)
    net = TinyNetwork().eval()
    assert build("auto", net) is None
    assert "backend torch: tiny:net is not converted for openvino yet" in caplog.text
    predict("openvino", net)
    runtime = build("auto", net)
    assert runtime is not None and runtime.name == "openvino" and runtime.replaceable
    assert f"backend {runtime}: tiny:net is converted for it" in caplog.text
    files = {*cache.iterdir()}
    assert runtime.run(torch.zeros(1, 3, 45, 70)) is not None
    assert runtime.run(torch.zeros(1, 3, 50, 70)) is None
    smaller = IMAGES[:, :, :40]
    assert torch.equal(predict("auto", net, smaller), predict("torch", net, smaller))
    assert {*cache.iterdir()} == files
