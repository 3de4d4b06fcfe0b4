"""The flags of launchers, as train.py gets them."""
from __future__ import annotations

import pytest

from tools.benchmark import launchers


def test_every_launcher_is_known_by_its_run() -> None:
    names = launchers.names()
    assert len(names) == len(list(launchers.FOLDER.iterdir()))
    assert {"cityscapes_sfnet_res18", "streets_sfnet_dfv1"} <= set(names)


def test_flags_are_those_of_the_launcher_with_more_behind() -> None:
    flags = launchers.flags_of("streets_sfnet_dfv1")
    assert flags[flags.index("--exp") + 1] == "train_streets_sfnet_dfv1"
    assert flags[flags.index("--arch") + 1] == "sfnet_dfnetv1"
    options = launchers.options_of("streets_sfnet_dfv1", ["--crop_size", "64x96"])
    assert options.network.arch == "sfnet_dfnetv1"
    assert options.transforms.crop_size == (64, 96) and options.optimizer.ema_decay == 0.99


def test_an_unknown_run_is_refused_with_those_like_it() -> None:
    with pytest.raises(ValueError, match="did you mean 'cityscapes_sfnet_res18'"):
        launchers.flags_of("cityscapes_sfnet_resnet18")


def test_a_launcher_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "train_broken.sh").write_text("echo no luck >&2; exit 3\n")
    monkeypatch.setattr(launchers, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"train_broken\.sh failed: no luck"):
        launchers.flags_of("broken")
