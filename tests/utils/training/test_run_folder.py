"""The folder of a run is created once and describes what a result depends on."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
import torch

from utils.training import run_folder
from utils.training.progress import Progress

CPU = torch.device("cpu")


def test_a_run_folder_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "name"
    run_folder.create(folder, {"lr": 0.1}, {"commit": "abc"})
    assert run_folder.read_args(folder) == {"lr": 0.1}
    with pytest.raises(
        FileExistsError, match=r"already holds a run: go on with it by --resume .*name"
    ):
        run_folder.create(folder, {}, {})


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run is there"):
        run_folder.read_args(tmp_path)


def test_damaged_flags_of_a_run_are_named(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text('{"arch": "sfnet')
    with pytest.raises(ValueError, match=r"args\.json, .* flags of the run, is damaged \(Unterm"):
        run_folder.read_args(tmp_path)


def test_the_command_that_goes_on_takes_a_folder_with_a_space(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run_folder.log_stop(RuntimeError("SIGINT"), Progress(), tmp_path / "my run")
    assert caplog.messages[-1].endswith(f"python train.py --resume '{tmp_path}/my run'")


def test_the_environment_tells_code_machine_and_data(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"123")
    found = run_folder.environment(CPU, "fp32", [tmp_path / "a.png"])
    assert found["data"]["files"] == 1 and found["torch"] == torch.__version__
    assert (
        abs(datetime.now(timezone.utc) - datetime.fromisoformat(found["started"])).total_seconds()
        < 60
    )
    (tmp_path / "a.png").write_bytes(b"1234")
    assert run_folder.environment(CPU, "fp32", [tmp_path / "a.png"])["data"] != found["data"]


def begin(folder: Path) -> None:
    run_folder.create(folder, {"lr": 0.1}, {"commit": "abc"})


def test_a_folder_holds_a_run_once_a_step_is_logged_or_saved(tmp_path: Path) -> None:
    assert not run_folder.holds_run(tmp_path)
    begin(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"kind": "sampling", "step": 0}\n')
    assert not run_folder.holds_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n')
    assert run_folder.holds_run(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "best.pth").touch()
    assert run_folder.holds_run(tmp_path)


def test_what_a_failed_start_left_is_removed_but_its_log(tmp_path: Path) -> None:
    begin(tmp_path)
    for name in ("metrics.jsonl", "train.log"):
        (tmp_path / name).touch()
    run_folder.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.log"]
    begin(tmp_path)


def test_a_run_is_named_by_its_folder_or_its_newest_checkpoint(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    for path in (checkpoints / "step_2.pth", checkpoints / "step_4.pth", tmp_path / "last.pth",
                 tmp_path / "best.pth"):
        path.touch()
    for path in (tmp_path, tmp_path / "last.pth", checkpoints / "step_4.pth"):
        assert run_folder.folder_of(path) == tmp_path
    for path in (tmp_path / "best.pth", checkpoints / "step_2.pth"):
        with pytest.raises(ValueError, match=r"goes on from its newest checkpoint.*--snapshot"):
            run_folder.folder_of(path)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "run"
    with (run_folder.claimed(folder),
          pytest.raises(FileExistsError, match=r"another process trains in .*run: wait until it "
                                               r"has ended, or choose another name with --exp"),
          run_folder.claimed(folder)):
        pass
    with run_folder.claimed(folder):
        assert [*folder.iterdir()] == []


@pytest.mark.parametrize(("launcher", "protocol"), [
    ("train_camvid_sfnet_lite_efflite0_upsampled", "--inference_mode whole --scales 1.5 "),
    ("train_camvid_sfnet_lite_efflite0", "--inference_mode whole "),
    ("my_own_launcher", ""),
    (None, ""),
])
def test_the_last_lines_predict_as_the_launchers_evaluation_does(
    launcher: str | None, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("SFSEGNETS_LAUNCHER", raising=False)
    if launcher:
        monkeypatch.setenv("SFSEGNETS_LAUNCHER", launcher)
    run_folder.create(tmp_path, {}, run_folder.environment(CPU, "fp32", []))
    with caplog.at_level("INFO"):
        run_folder.log_closing_summary(run_folder.FolderOptions(tmp_path), Progress(step=3),
                                       ["--dataset", "camvid", "--split", "test"], skipped=0)
    last = tmp_path / "last.pth"
    assert (f"python eval.py --snapshot {last} {protocol}--dataset camvid --split test"
            in caplog.messages[-2])
    assert f"tools.demo --snapshot {last} {protocol}--input FOLDER" in caplog.messages[-1]
