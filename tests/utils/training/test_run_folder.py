"""The folder of a run is created once and describes what a result depends on."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
import torch

from utils.training import run_folder

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
