from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tools.maintainer.fault_drill import digest


def write_run(folder: Path, weight: float, name: str = "a") -> Path:
    folder.mkdir()
    state = {"state_dict": {"w": torch.tensor([weight])}, "args": {"ckpt": name}}
    torch.save(state, folder / "last.pth")
    torch.save(state, folder / "best.pth")
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "loss": 0.5}\n')
    return folder


def test_tensors_count_and_the_path_of_the_run_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = []
    for number, (weight, name) in enumerate([(1.0, "a"), (1.0, "b"), (1.5, "a")]):
        digest.main(write_run(tmp_path / str(number), weight, name))
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]
    assert outputs[0].splitlines()[-1] == "[('train', 1)]"
