from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from datasets import spec
from utils.evaluation.corruptions import Corruption
from utils.evaluation.identity import default_folder, partial_count, run_identity, run_settings
from utils.evaluation.inference import InferenceOptions


def parts(tmp_path: Path, max_images: int | None = None) -> tuple[SimpleNamespace, ...]:
    """Options, model and data of an evaluation of two images."""
    snapshot = tmp_path / "last.pth"
    snapshot.write_bytes(b"weights")
    options = SimpleNamespace(
        data=SimpleNamespace(max_images=max_images), boundary=SimpleNamespace(enabled=False),
        snapshot=SimpleNamespace(path=snapshot), inference=InferenceOptions(),
        evaluation=SimpleNamespace(fuse=False, calibration=False, trimap=None),
        flags={"json": "x", "scales": (1.0,)})
    model = SimpleNamespace(trained=SimpleNamespace(arch="a", weights="raw"),
                            predictor=SimpleNamespace(precision="fp32", device="cpu",
                                                      backend="torch"))
    data = SimpleNamespace(spec=spec("camvid"), split="val", labeled=True, root=tmp_path,
                           groups=lambda count: None,
                           samples=[SimpleNamespace(name="1"), SimpleNamespace(name="2")])
    return options, model, data


def test_a_corruption_is_another_evaluation_and_a_clean_one_is_as_before(tmp_path: Path) -> None:
    options, model, data = parts(tmp_path)
    clean = run_identity(options, model, data)
    assert clean["images"] == 2 and "corruption" not in clean and "deployed" not in clean
    assert run_identity(options, model, data, Corruption("fog", 2)) == {
        **clean, "corruption": "fog_2"}


def test_groups_and_borders_are_named_only_if_they_are_scored(tmp_path: Path) -> None:
    options, model, data = parts(tmp_path, max_images=1)
    assert not {"groups", "trimap"} & set(run_identity(options, model, data))
    options.evaluation.trimap, data.groups = 3, lambda count: ("drive",) * count
    identity = run_identity(options, model, data)
    assert identity["trimap"] == 3 and identity["groups"] == ("drive",)
    data.labeled = False
    assert "trimap" not in run_identity(options, model, data)


def test_a_look_at_a_few_images_has_a_folder_of_its_own(tmp_path: Path) -> None:
    options, _, data = parts(tmp_path)
    assert default_folder(options, data) == tmp_path / "eval_camvid_val"
    options, model, data = parts(tmp_path, max_images=1)
    assert partial_count(options, data) == 1
    assert default_folder(options, data) == tmp_path / "eval_camvid_val_first1"
    settings = run_settings(options, run_identity(options, model, data), model, data)
    assert settings["max_images"] == 1 and "json" not in settings and settings["arch"] == "a"
    assert partial_count(parts(tmp_path, max_images=2)[0], data) is None


def test_another_backend_is_another_evaluation_and_its_version_a_setting(tmp_path: Path) -> None:
    options, model, data = parts(tmp_path)
    by_torch = run_identity(options, model, data)
    model.predictor.backend = "openvino 2026.4.1"
    identity = run_identity(options, model, data)
    assert identity == {**by_torch, "backend": "openvino"}
    assert run_settings(options, identity, model, data)["backend"] == "openvino 2026.4.1"
