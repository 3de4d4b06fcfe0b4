"""Where the value of a flag comes from; tests/test_train.py tries it with all flags."""
from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import train
from utils.cli import FlagParser
from utils.training import options


@pytest.fixture
def parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlagParser:
    """The flags of the options of `utils`, and those that the recipes read."""
    parser = FlagParser(prog="train.py")
    options.add_flags(parser)
    parser.add_argument("--arch", default="any")
    parser.add_argument("--fpn_dsn_loss", default=False)
    # runs lie in logs/ of the working folder
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    return parser


def resolve(parser: FlagParser, *words: str) -> tuple[Namespace, dict[str, str]]:
    return options.resolve_flags(parser, words, lambda flags: "named")


def test_the_command_line_wins_over_a_recipe_and_a_recipe_over_the_default(
        parser: FlagParser) -> None:
    args, origins = resolve(parser, "--recipe", "paper", "--max_epoch", "7")
    assert (args.max_iters, origins["max_iters"]) == (50_000, "recipe paper")
    assert (args.max_epoch, origins["max_epoch"]) == (7, "command line")
    assert (args.log_every, origins["log_every"]) == (20, "default")
    assert args.exp == "named"


def test_a_line_of_the_table_tells_name_value_and_origin(parser: FlagParser) -> None:
    args, origins = resolve(parser, "--seed", "3")
    lines = options.format_flags(args, origins).splitlines()
    assert "seed                 3                            command line" in lines


def begin(folder: Path, **flags: Any) -> None:
    folder.mkdir()
    (folder / "args.json").write_text(json.dumps({"exp": folder.name, **flags}))
    (folder / "env.json").write_text(json.dumps({"torchrun": "job"}))


def test_a_resumed_run_keeps_its_flags_but_for_those_that_may_change(
        parser: FlagParser, tmp_path: Path) -> None:
    begin(tmp_path / "run", seed=5, log_every=20, eval_thresholds=[0.1])
    args, origins = resolve(parser, "--resume", str(tmp_path / "run"), "--log_every", "2")
    assert (args.seed, args.log_every) == (5, 2)
    assert (origins["seed"], origins["log_every"]) == ("run", "command line")
    # JSON has no tuples
    assert args.eval_thresholds == (0.1,)
    with pytest.raises(ValueError, match=r"--seed 6 would change the run .*, which has 5"):
        resolve(parser, "--resume", str(tmp_path / "run"), "--seed", "6")


@pytest.mark.parametrize(("job", "restarts", "is_resumed"), [
    ("job", "1", True), ("other", "1", False), ("job", "0", False)])
def test_a_worker_that_torchrun_restarts_resumes_the_run_of_the_same_torchrun(
        parser: FlagParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str,
        restarts: str, is_resumed: bool) -> None:
    begin(tmp_path / "logs" / "run", seed=5)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
    args, _ = resolve(parser, "--exp", "run")
    assert (args.resume == "logs/run") is is_resumed


def test_batch_sizes_follow_from_those_given() -> None:
    args = Namespace(bs_mult=2, accumulate=None, global_batch=8, resume=None, loss_norm="global",
                     syncbn=True, apex=False, timeout=10.0)
    options.set_batch_sizes(args)
    assert (args.bs_mult, args.accumulate, args.global_batch) == (2, 4, 8)


@pytest.mark.parametrize("flags", [["--seed", str(2 ** 64)], ["--crop_size", "7"]])
def test_a_value_out_of_range_is_refused_with_its_flag(
        flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.parse(["--exp", "x", *flags])
    assert f"argument {flags[0]}: " in capsys.readouterr().err
