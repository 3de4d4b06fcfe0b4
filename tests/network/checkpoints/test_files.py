from __future__ import annotations

import argparse
import pickle
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import network
from network.checkpoints import WeightsError
from network.checkpoints.files import read, write_safetensors

NAME = "sfnet_dfnetv1"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"a.weight": torch.randn(60, 70, generator=generator), "a.bias": torch.ones(60)}


def test_what_is_written_is_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    write_safetensors({"state_dict": state, "arch": NAME}, tmp_path / "a.safetensors")
    found = read(tmp_path / "a.safetensors")
    assert found["arch"] == NAME and set(found["state_dict"]) == set(state)
    assert all(torch.equal(found["state_dict"][key], value) for key, value in state.items())


@pytest.mark.parametrize("core", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_numpy_scalars_are_read_under_both_module_paths(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, core: bytes, legacy: bool) -> None:
    class Pickler(pickle._Pickler):
        """Writes the module path of another version of numpy."""

        def save_global(self, obj: Any, name: str | None = None) -> None:
            if getattr(obj, "__name__", "") == "scalar":
                self.write(b"c" + core + b"\nscalar\n")
                self.memoize(obj)
            else:
                super().save_global(obj, name)

        scalar = type(np.float64(0).__reduce__()[0])
        dispatch = {**pickle._Pickler.dispatch, scalar: save_global}

    monkeypatch.setattr(pickle, "Pickler", Pickler)
    payload = {"state_dict": {"a": torch.ones(2)}, "mean_iu": np.float64(0.784),
               "epoch": np.int64(7), "loss": np.float32(0.5)}
    torch.save(payload, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    monkeypatch.undo()
    assert core in (tmp_path / "a.pth").read_bytes()
    restored = read(tmp_path / "a.pth")
    assert (restored["mean_iu"], restored["epoch"], restored["loss"]) == (0.784, 7, 0.5)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, state: dict[str, Tensor], legacy: bool,
                                     kept: float) -> None:
    path = tmp_path / "a.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(WeightsError, match=r"a\.pth is (truncated|no checkpoint, or is damaged).*"
                                           r"copy or download"):
        read(path)


@pytest.mark.parametrize("page", [
    b"<!DOCTYPE html><html>", b"\n  <html><head>", b"<HTML>Google Drive"])
def test_a_web_page_is_named_as_such(tmp_path: Path, page: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(page + b"quota exceeded" * 10)
    message = "is a web page, not weights: the download link answered with HTML"
    with pytest.raises(WeightsError, match=message):
        read(tmp_path / "a.pth")


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("writer", ["zip", "legacy", "pickle"])
def test_foreign_code_is_refused_and_not_executed(tmp_path: Path, state: dict[str, Tensor],
                                                  writer: str) -> None:
    mark, path = tmp_path / "executed", tmp_path / "a.pth"
    payload = {"state_dict": state, "surprise": Evil(mark)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"surprise": Evil(mark)}, protocol=2))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=writer == "zip")
    with pytest.raises(WeightsError, match=r"a\.pth was refused: its pickle names .*"
                                           r"pathlib[\w.]*Path.*could run code"):
        read(path)
    assert not mark.exists()
    if writer != "pickle":
        torch.load(path, weights_only=False)
        assert mark.exists(), "the file runs no code, so that this test shows nothing"


FOREIGN: dict[str, Any] = {
    "argparse.Namespace": argparse.Namespace(lr=0.1),
    "PurePosixPath": PurePosixPath("logs"),
    r"numpy\._?core": np.arange(3),
    "collections.defaultdict": defaultdict(list),
    "torch.nn.modules.linear.Linear": nn.Linear(2, 2),
    "torch._C.Generator": torch.Generator(),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("writer", ["zip", "legacy", "pickle 2", "pickle 4", "pickle 5"])
def test_a_foreign_class_is_named_with_the_way_out(tmp_path: Path, name: str,
                                                   writer: str) -> None:
    path, payload = tmp_path / "a.pth", {"epoch": 3, "value": FOREIGN[name]}
    if writer.startswith("pickle"):
        if name.startswith("torch._C"):
            pytest.skip("torch.save alone can write a generator")
        path.write_bytes(pickle.dumps(payload, protocol=int(writer[-1])))
    else:
        torch.save(payload | {"state_dict": {"bias": torch.ones(2)}}, path,
                   _use_new_zipfile_serialization=writer == "zip")
    with pytest.raises(WeightsError, match=rf"was refused: its pickle names .*{name}.*"
                                           r"weights_only=False.*torch\.save\(payload"):
        read(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_pickled_network_is_refused_by_the_name_of_its_class(tmp_path: Path,
                                                               legacy: bool) -> None:
    torch.save(network.build(NAME, 3), tmp_path / "a.pth",
               _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"names network\.model\.SceneParser, .*"
                                           r"payload\.state_dict\(\).* a whole network"):
        read(tmp_path / "a.pth")


def test_a_script_program_and_another_zip_file_are_named(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"is a TorchScript program.*torch\.jit\.load"):
        read(tmp_path / "a.pth")
    np.savez(tmp_path / "b.npz", a=np.ones(2))
    with pytest.raises(WeightsError, match=r"a zip file that torch\.save did not write \(it holds "
                                           r"a\.npy\)"):
        read(tmp_path / "b.npz")


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    with pytest.raises(WeightsError, match=r"is a pointer of Git LFS.*git lfs pull"):
        read(tmp_path / "a.pth")


def test_a_missing_file_and_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*nowhere\.pth"):
        read(tmp_path / "nowhere.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list, not a dict of weights"):
        read(tmp_path / "list.pth")


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
def test_an_exported_file_is_named_as_such(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_text('<?xml version="1.0"?>')
    with pytest.raises(WeightsError, match=r"net\.\w+ is an exported file, not weights: give the "
                                           r"checkpoint"):
        read(path)
