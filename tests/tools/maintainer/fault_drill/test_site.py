from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrillSite:
    """A site whose undisturbed run has one weight and took two steps."""
    site = DrillSite(tmp_path, steps=2, times=1, seed=0)
    state = {"state_dict": {"w": torch.tensor([1.0])}, "ema": {"w": torch.tensor([2.0])}}
    monkeypatch.setattr(site, "undisturbed", lambda processes=1: state)
    return site


def write_run(site: DrillSite, weight: float, steps: list[int]) -> None:
    folder = site.folder / "exp"
    folder.mkdir()
    state = {"state_dict": {"w": torch.tensor([weight])}, "ema": {"w": torch.tensor([2.0])}}
    torch.save(state, folder / "last.pth")
    lines = [json.dumps({"step": step}) for step in steps]
    (folder / "metrics.jsonl").write_text("\n".join(lines))


def test_equal_weights_and_a_complete_log_pass(site: DrillSite) -> None:
    write_run(site, 1.0, [1, 2])
    assert site.logged_step("exp") == 2
    assert "bit-identical" in site.compare_with_undisturbed("exp")


@pytest.mark.parametrize(("weight", "steps", "message"),
                         [(1.5, [1, 2], "1 tensors of state_dict differ, w among them"),
                          (1.0, [1, 1, 2], r"metrics.jsonl has steps \[1, 1, 2\]")])
def test_a_differing_weight_or_a_step_logged_twice_breaks_the_promise(
    site: DrillSite, weight: float, steps: list[int], message: str
) -> None:
    write_run(site, weight, steps)
    with pytest.raises(BrokenPromise, match=message):
        site.compare_with_undisturbed("exp")


def test_another_exit_code_breaks_the_promise(site: DrillSite) -> None:
    program = ["-c", "print('hello'); raise SystemExit(3)"]
    assert site.run([], code=3, program=program) == "hello\n"
    assert site.run([], code=None, program=program) == "hello\n"
    with pytest.raises(BrokenPromise, match="exit code 3 instead of 0:\nhello"):
        site.run([], program=program)
    with pytest.raises(BrokenPromise, match="exit code 0 instead of an error"):
        site.run([], code=None, program=["-c", ""])
