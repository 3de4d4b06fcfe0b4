from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import network
from network.checkpoints import sources
from network.checkpoints.snapshot import Snapshot
from network.checkpoints.weights import published_state_dict
from tools.weights import __main__ as weights
from utils.files import sha256

CLASSES = ["road", "car", "sky"]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return published_state_dict(network.build("sfnet_dfnetv1", 3, deep_supervision=True,
                                              context="sum"))


def run_checkpoint(path: Path, state: dict[str, Tensor], **changes: Any) -> Path:
    torch.save(
        {
            "arch": "sfnet_dfnetv1", "dataset": "toys", "classes": CLASSES, "num_classes": 3,
            "state_dict": state, "ema": None, "optimizer": {"big": torch.zeros(100_000)},
            "mean_iu": 0.5, "step": 40, "args": {"context": "sum", "final_fams": False, "lr": 0.01},
            **changes,
        },
        path,
    )
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_converted_file_holds_what_inference_needs_and_loads(
    tmp_path: Path, state: dict[str, Tensor], suffix: str
) -> None:
    source, out = run_checkpoint(tmp_path / "last.pth", state), tmp_path / f"small{suffix}"
    assert weights.main(["convert", "--snapshot", str(source), "--out", str(out)]) == 0
    assert out.stat().st_size < source.stat().st_size - 400_000
    snapshot = Snapshot(out)
    assert (snapshot.arch, snapshot.dataset, snapshot.options) == ("sfnet_dfnetv1", "toys",
                                                                   {"context": "sum"})
    assert snapshot.payload["mean_iu"] == 0.5
    assert {"optimizer", "ema", "step"}.isdisjoint(snapshot.payload)
    found = published_state_dict(snapshot.network("toys", CLASSES))
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    assert not any("dsn" in key for key in snapshot.payload["state_dict"])


def test_half_precision_halves_kernels_and_keeps_vectors(tmp_path: Path,
                                                         state: dict[str, Tensor]) -> None:
    source = run_checkpoint(tmp_path / "last.pth", state)
    whole, halved = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    assert weights.main(["convert", "--snapshot", str(source), "--out", str(whole)]) == 0
    assert weights.main(["convert", "--snapshot", str(source), "--out", str(halved), "--half"]) == 0
    assert halved.stat().st_size < 0.52 * whole.stat().st_size
    loaded = published_state_dict(Snapshot(halved).network("toys", CLASSES))
    for key, value in loaded.items():
        assert value.dtype == state[key].dtype
        expected = state[key].half().float() if value.ndim > 1 else state[key]
        assert torch.equal(value, expected)


def test_numbers_beyond_half_precision_are_refused(
    tmp_path: Path, state: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    key = next(key for key, value in state.items() if value.ndim == 4 and "dsn" not in key)
    source = run_checkpoint(tmp_path / "last.pth", {**state, key: state[key] + 70_000.0})
    out = tmp_path / "half.safetensors"
    assert weights.main(["convert", "--snapshot", str(source), "--out", str(out), "--half"]) == 2
    assert f"{key} has numbers that float16 cannot hold" in capsys.readouterr().err
    assert not out.exists()


def test_notes_are_kept_shown_and_converted_again(
    tmp_path: Path, state: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    source = run_checkpoint(tmp_path / "last.pth", state)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.pth"
    assert weights.main(["convert", "--snapshot", str(source), "--out", str(first),
                         "--note", "license=for research", "--note", "score=66.6 % of toys",
                         "training=a command"]) == 0
    assert weights.main(["convert", "--snapshot", str(first), "--out", str(second),
                         "--note", "score=70 %"]) == 0
    assert Snapshot(first).license == Snapshot(second).license == "for research"
    assert Snapshot(source).license is None
    capsys.readouterr()
    weights.main(["inspect", str(second)])
    assert "license: for research; score: 70 %; training: a command" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        weights.main(["convert", "--snapshot", str(first), "--out", "x.pth", "--note", "nothing"])
    assert "'nothing' is not NAME=TEXT" in capsys.readouterr().err


@pytest.mark.parametrize(("which", "added"), [("auto", 1), ("ema", 1), ("raw", 0)])
def test_averaged_or_raw_weights_are_kept(tmp_path: Path, state: dict[str, Tensor], which: str,
                                          added: int) -> None:
    bias = "head.conv_last.1.bias"
    source = run_checkpoint(tmp_path / "last.pth", state, ema={**state, bias: state[bias] + 1})
    assert weights.main(["convert", "--snapshot", str(source), "--out", str(tmp_path / "a.pth"),
                         "--weights", which]) == 0
    assert torch.equal(network.checkpoints.weights.read(tmp_path / "a.pth")["state_dict"][bias],
                       state[bias] + added)


@pytest.mark.parametrize(("out", "message"), [("a.onnx", "must end in .pth or .safetensors"),
                                              ("last.pth", "exists: choose another name")])
def test_a_bad_output_is_refused(tmp_path: Path, state: dict[str, Tensor], out: str, message: str,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    source = run_checkpoint(tmp_path / "last.pth", state)
    assert weights.main(["convert", "--snapshot", str(source), "--out", str(tmp_path / out)]) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    source, out = run_checkpoint(tmp_path / "last.pth", state), tmp_path / "small.safetensors"
    weights.main(["convert", "--snapshot", str(source), "--out", str(out)])
    out.write_bytes(out.read_bytes()[:1000])
    with pytest.raises(network.checkpoints.weights.WeightsError,
                       match=r"safetensors is truncated or damaged \(1,000 bytes\)"):
        network.checkpoints.weights.read(out)


STAND_INS = [
    "sfnet_dfnetv1", "sfnet_stdc1", "sfnet_lite_resnet18", "deeplabv3plus_resnet18",
    "dfsegnet_dfnetv1",
]


def test_files_in_the_form_of_published_ones_load_and_are_recognized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert weights.main(["stand_ins", "--out", str(tmp_path), "--arch", *STAND_INS]) == 0
    capsys.readouterr()
    assert weights.main(["inspect", *(str(tmp_path / f"{name}.pth") for name in STAND_INS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split(";")[0] for line in lines] == STAND_INS
    assert all("; 19 classes; " in line and "says mean_iu 0.5" in line for line in lines)


def test_inspect_says_what_it_does_not_know(tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "page.pth").write_text("<html>quota exceeded</html>")
    assert weights.main(["inspect", str(tmp_path / "other.pth"), str(tmp_path / "page.pth")]) == 1
    out = capsys.readouterr().out
    assert ("other.pth: no network known here; no segmentation classifier; 1 tensors of 3 numbers"
            in out)
    assert "page.pth is a web page, not weights" in out


def test_verify_notices_changed_missing_and_damaged_files(
    tmp_path: Path, state: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = {key.removeprefix("backbone."): value
                for key, value in state.items() if key.startswith("backbone.")}
    path = tmp_path / "dfnetv1.pth"
    torch.save(backbone, path)
    folder = ["--folder", str(tmp_path)]
    assert weights.main(["verify", *folder, "--record"]) == 0
    assert (tmp_path / "SHA256SUMS").read_text() == f"{sha256(path)}  dfnetv1.pth\n"
    assert weights.main(["verify", *folder]) == 0
    assert "dfnetv1.pth: dfnetv1, as recorded" in capsys.readouterr().out

    torch.save({**backbone, "extra": torch.zeros(1)}, path)
    assert weights.main(["verify", *folder]) == 1
    assert "dfnetv1.pth: dfnetv1, CHANGED" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:5000])
    assert weights.main(["verify", *folder]) == 1
    assert "is truncated" in capsys.readouterr().out
    path.unlink()
    assert weights.main(["verify", *folder]) == 1
    assert "is in the manifest, but not there" in capsys.readouterr().out


def test_list_says_which_files_are_there(tmp_path: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dfnetv2.pth").write_bytes(b"x" * 1234)
    assert weights.main(["list", "--folder", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "1,234" in lines["dfnetv2"]
    assert "sfnet_dfnetv2, dfsegnet_dfnetv2" in lines["dfnetv2"]
    assert "not there" in lines["resnet18"]


def test_list_names_the_packages_that_carry_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    package = replace(sources.PACKAGES["tf_efficientnet_lite0"], module="carried")
    monkeypatch.setitem(sources.PACKAGES, "tf_efficientnet_lite0", package)
    absent = replace(package, name="no-such-package", module="no_such_module")
    monkeypatch.setitem(sources.PACKAGES, "tf_efficientnet_lite1", absent)
    path = tmp_path / "carried" / package.file
    path.parent.mkdir(parents=True)
    (tmp_path / "carried/__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    assert weights.main(["list", "--folder", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert re.search(r"tf_efficientnet_lite0 +package +damaged .*--force-reinstall", output)
    assert re.search(r"tf_efficientnet_lite1 +package +not installed +no-such-package", output)
    path.write_bytes(b"x" * 1234)
    assert weights.main(["list", "--folder", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert re.search(r"tf_efficientnet_lite0 +package +1,234 +efficientnet-lite0", output)


@pytest.mark.parametrize("name", ["checkpoints/step_40.pth", "last.pth", "other.pth"])
def test_a_byte_that_flipped_in_the_middle_is_found(
        tmp_path: Path, state: dict[str, Tensor], name: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    run_checkpoint(path, state)
    assert weights.main(["verify", str(path), "--folder", str(tmp_path)]) == 0
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert weights.main(["verify", str(path), "--folder", str(tmp_path)]) == 1
    assert "is damaged: the checksum of its entry" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["checkpoints/step_40.pth", "best.pth", "last.pth"])
def test_a_checkpoint_is_compared_with_the_checksum_that_its_run_wrote(
        tmp_path: Path, state: dict[str, Tensor], name: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checkpoints").mkdir()
    path = run_checkpoint(tmp_path / name, state)
    checksums = tmp_path / "checkpoints/step_40.pth.sha256"
    checksums.write_text(sha256(path) + "\n")
    assert weights.main(["verify", str(path), "--folder", str(tmp_path)]) == 0
    checksums.write_text("0" * 64 + "\n")
    assert weights.main(["verify", str(path), "--folder", str(tmp_path)]) == 1
    assert "is not the one that its run wrote to" in capsys.readouterr().out
