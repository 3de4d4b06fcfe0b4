from __future__ import annotations

import errno
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from utils import files, precision
from utils.training import checkpoint
from utils.training.progress import Progress

CPU = torch.device("cpu")


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def save(folder: Path, step: int, keep: int = 2) -> Path:
    return checkpoint.save(folder, {"step": step, "weights": torch.arange(5)}, step, keep)


def test_the_newest_is_read_and_last_is_the_same_file(tmp_path: Path) -> None:
    for step in (5, 10):
        save(tmp_path, step)
    newest = checkpoint.newest(tmp_path, read)
    assert newest is not None and newest["step"] == 10
    assert read(tmp_path / "last.pth")["step"] == 10


def test_only_the_last_few_stay(tmp_path: Path) -> None:
    for step in (9, 10, 100):  # by number, not by name
        save(tmp_path, step)
    assert [path.name for path in checkpoint.saved(tmp_path)] == ["step_100.pth", "step_10.pth"]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 4  # each with its checksum


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING):
        newest = checkpoint.newest(tmp_path, read)
    assert newest is not None and newest["step"] == 1
    assert "step_2.pth is damaged" in caplog.text


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    save(tmp_path, 1).write_bytes(b"")
    with pytest.raises(ValueError, match=r"every checkpoint .* is damaged"):
        checkpoint.newest(tmp_path, read)


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path, read) is None


def test_a_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)

    def full(payload: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        OSError, match=r"step 2 could not be written .*No space left.* go on with --resume"
    ):
        save(tmp_path, 2)
    monkeypatch.undo()
    newest = checkpoint.newest(tmp_path, read)
    assert newest is not None and newest["step"] == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_pointing_replaces_what_was_there(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        files.link_or_copy(tmp_path / "best.pth", tmp_path / name)
    assert (tmp_path / "best.pth").read_text() == "b"


def test_a_crash_while_a_step_is_saved_again_leaves_the_file_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path, 1, keep=1)

    whole = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if target == path:
            raise KeyboardInterrupt
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, {"step": 1, "weights": torch.zeros(3)}, 1, 1)
    monkeypatch.undo()
    newest = checkpoint.newest(tmp_path, read)
    assert newest is not None and len(newest["weights"]) == 5
    save(tmp_path, 2, keep=1)
    assert not list(tmp_path.rglob("*.tmp"))  # what the crash left is gone


def save_scored(folder: Path, step: int, score: float | None, best: float | None) -> Path:
    state = {"step": step, "validated": step if score is not None else 0, "mean_iu": score,
             "best": best}
    return checkpoint.save(folder, state, step, keep=9)


def test_a_kill_before_the_links_are_renewed_is_mended_when_the_run_goes_on(
    tmp_path: Path,
) -> None:
    older, newer = save_scored(tmp_path, 6, 0.2, 0.2), save_scored(tmp_path, 8, 0.3, 0.3)
    for link in ("last.pth", "best.pth"):
        files.link_or_copy(tmp_path / link, older)
    state = checkpoint.newest(tmp_path, read)
    checkpoint.restore_links(tmp_path, state, read)
    assert (tmp_path / "last.pth").read_bytes() == newer.read_bytes()
    assert read(tmp_path / "best.pth")["step"] == 8


def test_of_equal_scores_the_earliest_stays_the_best(tmp_path: Path) -> None:
    best = save_scored(tmp_path, 6, 0.3, 0.3)
    save_scored(tmp_path, 8, 0.3, 0.3)
    for remove in (False, True):
        files.link_or_copy(tmp_path / "best.pth", best)
        if remove:
            (tmp_path / "best.pth").unlink()
        checkpoint.restore_links(tmp_path, checkpoint.newest(tmp_path, read), read)
        assert read(tmp_path / "best.pth")["step"] == 6


def test_a_best_file_with_an_undefined_score_gives_way_to_a_finite_one(tmp_path: Path) -> None:
    undefined = save_scored(tmp_path, 2, float("nan"), float("nan"))
    files.link_or_copy(tmp_path / "best.pth", undefined)
    save_scored(tmp_path, 4, 0.1, float("nan"))
    save_scored(tmp_path, 6, None, float("nan"))
    state = checkpoint.newest(tmp_path, read)
    checkpoint.restore_links(tmp_path, state, read)
    assert state is not None and state["best"] == 0.1
    assert read(tmp_path / "best.pth")["step"] == 4


def test_a_best_checkpoint_that_is_lost_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_scored(tmp_path, 8, None, 0.5)
    (tmp_path / "best.pth").write_bytes(b"torn")
    state = checkpoint.newest(tmp_path, read)
    checkpoint.restore_links(tmp_path, state, read_or_refuse)
    assert state is not None and state["best"] is None
    assert "the best mIoU, 50.00 %, is lost" in caplog.text


def test_a_run_with_epochs_of_another_length_is_not_resumed(tmp_path: Path) -> None:
    spec = SimpleNamespace(name="a", names=("road",), num_classes=1, description=None)
    checkpoints = checkpoint.Checkpoints(
        tmp_path, {"raw": torch.nn.Linear(1, 1)}, {}, arch="a", spec=spec, flags={"keep": 1},
        mean=(0.5,) * 3, std=(0.5,) * 3, weights=None, device=CPU,
        steps_per_epoch=3)
    with pytest.raises(ValueError, match=r"an epoch has 3 steps, and 4 when the run in .* began"):
        checkpoints.restore({"sampler": {"steps_per_epoch": 4}})


def test_a_restored_optimizer_does_not_keep_the_file(tmp_path: Path) -> None:
    """The tensors of a mapped file would keep a deleted checkpoint on the disk."""
    net = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 1)).backward()
    optimizer.step()
    spec = SimpleNamespace(name="a", names=("road",), num_classes=1, description=None)
    weights = SimpleNamespace(load=lambda net, state: None)
    checkpoints = checkpoint.Checkpoints(
        tmp_path, {"raw": net}, {"optimizer": optimizer}, arch="a", spec=spec, flags={"keep": 1},
        mean=(0.5,) * 3, std=(0.5,) * 3, weights=weights, device=CPU,
        steps_per_epoch=3)
    state = {"optimizer": optimizer.state_dict(), "rng": [precision.generators(CPU)],
             **Progress(step=1).state_dict()}
    checkpoints.restore(state)
    momentum = optimizer.state_dict()["state"][0]["momentum_buffer"]
    stored = state["optimizer"]["state"][0]["momentum_buffer"]
    assert torch.equal(momentum, stored) and momentum.data_ptr() != stored.data_ptr()


def read_or_refuse(path: Path) -> dict[str, Any]:
    try:
        return read(path)
    except Exception as error:
        raise ValueError(f"{path} is damaged") from error
