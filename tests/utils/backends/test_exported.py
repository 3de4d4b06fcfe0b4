from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

import eval as evaluation
from tests.tools.export.conftest import SPEC
from tests.utils.backends.conftest import write
from tools import calibrate, rank_images
from tools.app import views
from tools.demo import __main__ as demo
from tools.pseudo_label import __main__ as pseudo_label
from utils.backends.exported import ExportedFile, backend_of, open_exported
from utils.backends.graph import ExportModule
from utils.evaluation.inference import InferenceOptions

CPU = torch.device("cpu")


def write_black_image(root: Path) -> None:
    """Writes a split `val` of CamVid of one image."""
    for folder in ("val", "valannot"):
        (root / folder).mkdir()
        cv2.imwrite(str(root / folder / "a.png"), np.zeros((64, 96), np.uint8))


def opened(path: Path, backend: str = "auto") -> ExportedFile:
    return open_exported(path, backend, CPU, "fp32")


def test_the_suffix_says_which_backend_runs_a_file() -> None:
    names = ("a.xml", "a.onnx", "a.pth", "folder")
    assert [backend_of(Path(name)) for name in names] == ["openvino", "onnxruntime", None, None]


def test_a_file_alone_predicts_windows_scales_and_flips_as_the_network_does(
    any_size: Path, module: ExportModule
) -> None:
    inference = InferenceOptions("sliding", crop=(48, 64), scales=(0.8, 1.0), flip=True,
                                 windows_per_batch=2)
    model = evaluation.load_predictor(any_size, device="cpu", precision="fp32",
                                      inference=inference, backend="auto")
    assert (model.trained.arch, model.spec.name) == ("tiny", "camvid")
    assert model.predictor.temperature == 2
    torch_predictor = evaluation.Predictor(module.net, CPU, "fp32", model.predictor.mean,
                                           model.predictor.std, inference=inference,
                                           temperature=2.0)
    images = torch.randint(0, 256, (2, 3, 71, 101), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.predictor.probabilities(images),
                               torch_predictor.probabilities(images), atol=1e-4, rtol=0)


def test_a_file_of_one_size_runs_the_images_of_a_batch_one_by_one(one_size: Path,
                                                                  module: ExportModule) -> None:
    run = opened(one_size).runtime.run
    images = module.example((64, 96), batch=3)
    with torch.inference_mode():
        torch.testing.assert_close(run(images), module(images), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"takes images of 64x96 only, not of 64x64: .*--dynamic"):
        run(module.example((64, 64)))


def test_a_file_for_another_backend_or_a_missing_one_is_refused(any_size: Path,
                                                                tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"which torch does not run: give --backend openvino"):
        opened(any_size, "torch")
    with pytest.raises(FileNotFoundError, match=r"absent.xml: .*--format openvino"):
        opened(tmp_path / "absent.xml")
    with pytest.raises(ValueError, match=r"net\.xml runs on the CPU, but this runs on meta"):
        open_exported(any_size, "auto", torch.device("meta"), "fp32")


def test_flags_that_a_file_would_ignore_are_refused(
    any_size: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_black_image(tmp_path)
    flags = ["--snapshot", str(any_size), "--backend", "openvino", "--data_root", str(tmp_path),
             "--ckpt_path", str(tmp_path / "out")]
    for flag, message in (("--deployed", f"--deployed: {any_size} is an exported file, in which"),
                          ("--compile", "--compile is for torch: leave it out"),
                          ("--exact", "--exact is for torch: leave it out")):
        assert evaluation.main([*flags, flag]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"net\.xml is an exported file, which torch\.compile"):
        evaluation.load_predictor(any_size, device="cpu", backend="auto", compile=True)


def test_a_file_is_the_same_with_and_without_fuse(any_size: Path) -> None:
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(0))
    a, b = (evaluation.load_predictor(any_size, device="cpu", backend="auto", fuse=fuse).predictor
            for fuse in (True, False))
    assert torch.equal(a.logits(images), b.logits(images))


@pytest.mark.parametrize(("program", "flags"), [
    (calibrate, ["--data_root", "DIR"]),
    (pseudo_label, ["--data_root", "DIR", "--out", "DIR/out"]),
    (rank_images, ["--input", "DIR/a.png", "--out", "DIR/ranked"]),
])
def test_a_program_without_backends_advises_what_it_can_do(
    program: ModuleType, flags: list[str], any_size: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = [flag.replace("DIR", str(tmp_path)) for flag in flags]
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 96, 3), np.uint8))
    assert program.main(["--snapshot", str(any_size), *flags]) == 2
    said = capsys.readouterr().err
    assert f"{any_size} is an exported file: give the checkpoint it was made from" in said
    assert "--backend" not in said


def test_a_damaged_file_is_refused_in_a_line(any_size: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.xml"
    path.write_bytes(any_size.read_bytes()[:500])
    shutil.copy(any_size.with_suffix(".bin"), tmp_path)
    with pytest.raises(ValueError, match=r"net\.xml is damaged, or not made by .*export it again"):
        opened(path)


def test_a_file_of_labels_predicts_the_labels_of_the_network(any_size: Path,
                                                             any_size_labels: Path) -> None:
    # the narrow image is padded to 32 columns for the network
    for size in ((71, 101), (64, 20)):
        images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8,
                               generator=torch.Generator().manual_seed(0))
        expected, labels = (
            evaluation.load_predictor(path, device="cpu", precision="fp32",
                                      backend="auto").predictor.labels(images)
            for path in (any_size, any_size_labels))
        assert labels.dtype == torch.uint8
        assert labels.shape == expected.shape
        assert (labels == expected).float().mean() > 0.999


SEVERAL_VIEWS = (r"several views \(--scales, .*smaller than the image\) needs logits, and this "
                 "exported file returns labels: ")


@pytest.mark.parametrize("inference", [
    InferenceOptions("whole", scales=(0.8, 1.0)),
    InferenceOptions("pooling", flip=True),
])
def test_a_file_of_labels_is_not_loaded_for_several_views(any_size_labels: Path,
                                                          inference: InferenceOptions) -> None:
    with pytest.raises(ValueError, match=SEVERAL_VIEWS):
        evaluation.load_predictor(any_size_labels, device="cpu", precision="fp32", backend="auto",
                                  inference=inference)


def test_a_file_of_labels_averages_no_windows(any_size_labels: Path) -> None:
    predictor = evaluation.load_predictor(
        any_size_labels, device="cpu", precision="fp32", backend="auto",
        inference=InferenceOptions("sliding", crop=(64, 64))).predictor
    images = torch.zeros(1, 3, 71, 101, dtype=torch.uint8)
    with pytest.raises(ValueError, match=SEVERAL_VIEWS):
        predictor.labels(images)
    for method in (predictor.confidence, predictor.probabilities, predictor.logits):
        with pytest.raises(ValueError, match=r"a map of \w+ needs logits, .* --output coarse"):
            method(images)


def test_the_demo_draws_a_file_of_labels_but_no_confidence(
    any_size_labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 96, 3), np.uint8))
    flags = ["--snapshot", str(any_size_labels), "--input", str(tmp_path / "a.png"), "--out",
             str(tmp_path / "out"), "--precision", "fp32"]
    assert demo.main(flags) == 0
    ids = cv2.imread(str(tmp_path / "out/label_ids/a.png"), cv2.IMREAD_UNCHANGED)
    predictor = evaluation.load_predictor(any_size_labels, device="cpu", precision="fp32",
                                          backend="auto").predictor
    black = torch.zeros(1, 3, 64, 96, dtype=torch.uint8)
    assert np.array_equal(ids, SPEC.to_raw_ids[predictor.labels(black)[0].numpy()])
    capsys.readouterr()
    assert demo.main([*flags, "--confidence"]) == 2
    assert "--confidence needs logits, and this exported" in capsys.readouterr().err


def test_the_app_shows_the_classes_of_a_file_of_labels(any_size_labels: Path) -> None:
    model = evaluation.load_predictor(any_size_labels, device="cpu", precision="fp32",
                                      backend="auto")
    _, values = views.predict_views([model], np.zeros((64, 96, 3), np.uint8))
    classes, _, sure = (json.loads(value) for value in values)
    assert sum(row["share"] for row in classes["classes"]) == pytest.approx(1)
    assert (sure["fields"], sure["note"]) == ([], "This exported file returns labels, so there is "
                                              "no confidence to show: export the network with "
                                              "--output coarse.")


def test_a_file_of_labels_is_evaluated_with_a_report_but_no_calibration(
    any_size_labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_black_image(tmp_path)
    flags = ["--snapshot", str(any_size_labels), "--backend", "openvino", "--data_root",
             str(tmp_path), "--ckpt_path", str(tmp_path / "out"), "--precision", "fp32",
             "--num_workers", "0"]
    assert evaluation.main([*flags, "--calibration"]) == 2
    assert "--calibration needs logits, and this exported" in capsys.readouterr().err
    assert evaluation.main([*flags, "--report"]) == 0
    [page] = tmp_path.rglob("index.html")
    assert "Labels and predictions" in page.read_text()
    assert '"title":"Confidence"' not in page.read_text()


def test_a_file_that_takes_raw_images_is_refused(module: ExportModule, tmp_path: Path) -> None:
    path = write(tmp_path / "net.xml", module, input="rgb")
    with pytest.raises(ValueError, match=r"takes rgb images, .* --input normalized"):
        opened(path)


def test_a_file_of_other_classes_than_the_dataset_is_refused(any_size: Path) -> None:
    with pytest.raises(ValueError, match=r"predicts the 11 classes of camvid, but cityscapes has "
                                         r"19 classes"):
        evaluation.load_predictor(any_size, dataset="cityscapes", device="cpu", precision="fp32",
                                  backend="openvino")


@pytest.mark.parametrize("flags", [{"arch": "sfnet_dfnetv1"}, {"weights": "ema"}])
def test_a_file_of_another_network_or_other_weights_is_refused(any_size: Path,
                                                               flags: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"holds the raw weights of tiny: leave out --arch and"):
        evaluation.load_predictor(any_size, device="cpu", precision="fp32", backend="openvino",
                                  **flags)
