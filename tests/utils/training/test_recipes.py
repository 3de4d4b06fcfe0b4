"""Recipes: what a run that began without a recipe may be resumed with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import network
import train
from utils.files import ROOT
from utils.training.recipes import PURPOSES, RECIPES

STREETS = ["--arch", "sfnet_dfnetv1", "--dataset", "streets"]
# the flags of the launcher before it named its recipe
BEFORE = [
    "--pretrained",
    "none",
    "--scale_min",
    "0.75",
    "--scale_max",
    "1.5",
    "--no_gblur",
    "--global_batch",
    "8",
    "--max_epoch",
    "4",
    "--adamw",
    "--lr",
    "0.002",
    "--weight_decay",
    "0.01",
    "--warmup_steps",
    "50",
    "--ema_decay",
    "0.99",
    "--eval_epoch",
    "1",
    "--eval_every",
    "1",
]


def begin(folder: Path, *flags: str) -> None:
    """Writes what a run that has just begun leaves."""
    folder.mkdir()
    (folder / "args.json").write_text(json.dumps(train.parse([*STREETS, *flags]).flags))
    (folder / "env.json").write_text("{}")


def test_a_recipe_gives_way_to_the_command_line() -> None:
    flags = train.parse([*STREETS, "--recipe", "streets", "--max_epoch", "2"]).flags
    assert (flags["max_epoch"], flags["lr"]) == (2, RECIPES["streets"]["lr"])


@pytest.mark.parametrize("departure", [[], ["--max_epoch", "2"]])
def test_a_run_begun_without_a_recipe_goes_on_with_one_of_the_same_values(
    tmp_path: Path, departure: list[str]
) -> None:
    run = tmp_path / "run"
    begin(run, *BEFORE, *departure)
    words = [*STREETS, "--recipe", "streets", *departure, "--resume", str(run)]
    flags = train.parse(words).flags
    assert (flags["recipe"], flags["lr"]) == (None, 0.002)


def test_a_recipe_of_other_values_is_refused_for_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    begin(run, *BEFORE, "--lr", "0.1")
    with pytest.raises(SystemExit):
        train.parse([*STREETS, "--recipe", "streets", "--resume", str(run)])
    assert "--recipe streets would change the run" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_takes_every_network(recipe: str) -> None:
    for arch in (*network.names(), "sfnet_timm:resnet18d"):
        flags = train.parse(["--arch", arch, "--dataset", "streets", "--recipe", recipe]).flags
        assert flags["recipe"] == recipe
        assert not (flags["joint_edgeseg_loss"] and flags["fpn_dsn_loss"])


def test_the_help_says_what_each_recipe_is_for() -> None:
    assert PURPOSES.keys() == RECIPES.keys()
    help_text = " ".join(train.build_parser().format_help().split())
    assert all(f"{name}: {purpose}" in help_text for name, purpose in PURPOSES.items())


def test_the_documents_list_every_recipe() -> None:
    section = (ROOT / "docs/training.md").read_text().split("## Recipes")[1].split("##")[0]
    cells = re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(cells)) == [*RECIPES]
