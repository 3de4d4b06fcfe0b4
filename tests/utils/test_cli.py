from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

import eval as evaluation
import train
from tests import gpu_answers
from utils import cli
from utils.cli import (
    FlagParser,
    Repeated,
    add_switch,
    count_or_fraction,
    fraction,
    positive_int,
    run_program,
    size,
    suggest,
    whole_numbers,
)
from utils.evaluation import inference
from utils.training import options


@pytest.fixture
def parser() -> FlagParser:
    parser = FlagParser(prog="train.py", retired={"--local_rank": "torchrun"})
    parser.add_argument("--crop_size", type=size, default=(512, 512))
    parser.add_argument("--lr", type=float, default=0.01)
    add_switch(parser, "--flip", default=True, help="mirror")
    return parser


@pytest.mark.parametrize(
    ("words", "expected"), [([], True), (["--no_flip"], False), (["--no_flip", "--flip"], True)]
)
def test_a_switch_has_a_no_spelling(parser: FlagParser, words: list[str], expected: bool) -> None:
    assert parser.parse_args(words).flip is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("360x480", (360, 480)), ("720X960", (720, 960)), ("64", (64, 64))]
)
def test_sizes_are_height_by_width(text: str, expected: tuple[int, int]) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "x", "3x", "0", "12x0", "-3", "1.5", "1x2x3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        size(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        positive_int(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--crop_siz", "3"], "unknown flag --crop_siz, did you mean '--crop_size'"),
        (["--crop", "3"], "unknown flag --crop"),  # no abbreviations
        (["--local_rank=0"], "--local_rank is retired: use torchrun"),
        (["stray"], "unexpected word 'stray'"),
        (["--lr", "fast"], "--lr"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    parser: FlagParser, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(words)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and message in said and said.count("\n") == 1


def test_given_holds_only_what_the_command_line_names(parser: FlagParser) -> None:
    assert parser.given(["--lr", "0.01", "--no_flip"]) == {"lr": 0.01, "flip": False}


def test_nothing_near_is_suggested_as_nothing() -> None:
    assert suggest("qqq", ["camvid", "streets"]) == ""


def test_a_subcommands_flags_are_suggested_too(capsys: pytest.CaptureFixture[str]) -> None:
    parser = FlagParser(prog="tools.weights")
    parser.add_subparsers(dest="command").add_parser("list").add_argument("--folder")
    with pytest.raises(SystemExit):
        parser.parse_args(["list", "--foldr", "x"])
    assert "unknown flag --foldr, did you mean '--folder'" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1", 1.0), ("0.5", 0.5), ("1e-1", 0.1)])
def test_a_fraction_lies_between_0_and_1(text: str, value: float) -> None:
    assert fraction(text) == value


@pytest.mark.parametrize("text", ["-0.1", "1.01", "nan", "half", ""])
def test_what_is_no_fraction_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number from 0 to 1"):
        fraction(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("500", 500), ("1", 1), ("0.05", 0.05)])
def test_a_count_or_fraction_is_a_whole_number_or_below_1(text: str, value: float) -> None:
    assert count_or_fraction(text) == value


@pytest.mark.parametrize("text", ["-1", "1.5", "1.0", "many", "nan"])
def test_what_is_neither_a_count_nor_a_fraction_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number of at least 0 or"):
        count_or_fraction(text)


def test_whole_numbers_are_separated_by_commas() -> None:
    assert (whole_numbers("7"), whole_numbers("14,15,16")) == ((7,), (14, 15, 16))
    for text in ("", "1,", "1, 2", "-1", "a"):
        with pytest.raises(argparse.ArgumentTypeError, match="give them as in 14,15,16"):
            whole_numbers(text)


def exit_code_of(error: BaseException) -> int:
    def work() -> int:
        raise error

    return run_program("train.py", work, less_memory="--bs_mult 1")


def test_a_full_gpu_is_told_what_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")) == 1
    assert capsys.readouterr().err == (
        "train.py: error: CUDA out of memory. To use less memory, try: --bs_mult 1\n")


def test_memory_that_others_hold_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(torch.OutOfMemoryError(gpu_answers.FULL)) == 1
    assert capsys.readouterr().err == (
        "train.py: error: CUDA out of memory. Others hold memory of this GPU (process 4711 9.50 "
        "GiB): stop them, or choose another GPU with CUDA_VISIBLE_DEVICES=N. To use less "
        "memory, try: --bs_mult 1\n")


@pytest.mark.parametrize(("program", "less_memory"), [
    (train, options.LESS_MEMORY), (evaluation, inference.LESS_MEMORY)], ids=["train", "eval"])
def test_an_image_that_does_not_fit_is_answered_by_flags_that_the_program_has(
    program: ModuleType, less_memory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has a "
                                     "total capacity of 3.81 GiB of which 1.00 GiB is free.")

    assert run_program("x", work, less_memory=less_memory) == 1
    said = capsys.readouterr().err
    flags = set(re.findall(r"--\w+", said))
    assert len(flags) >= 4 and said.count("\n") == 1
    assert flags <= program.build_parser()._option_string_actions.keys()


def test_a_program_logs_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    # neither handlers of other libraries nor an earlier run's file take the log
    logging.basicConfig(handlers=[logging.NullHandler()], level=logging.ERROR, force=True)
    assert run_program("eval.py", lambda: logging.getLogger("eval").info("3 images")) == 0
    assert capsys.readouterr().out == "3 images\n"


def test_a_lost_process_is_told_from_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:545] Connection reset by peer")
    assert exit_code_of(lost) == 3
    assert "another process ended or is silent" in capsys.readouterr().err
    # unexpected errors keep their traceback
    with pytest.raises(ZeroDivisionError):
        exit_code_of(ZeroDivisionError())


def test_the_rank_that_a_launcher_passes_is_left_to_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = FlagParser(retired={"--local-rank": "torchrun"})
    parser.add_argument("--lr", type=float)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(SystemExit):
        parser.parse_args(["--local-rank=0"])
    assert "use torchrun" in capsys.readouterr().err
    monkeypatch.setenv("LOCAL_RANK", "0")
    words = ["--local-rank=0", "--lr", "0.1"]
    assert parser.parse_args(words).lr == 0.1 and parser.given(words) == {"lr": 0.1}


def test_help_shows_the_common_flags_and_help_all_every_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def shown(*words: str) -> str:
        parser = FlagParser(prog="x", common=["lr"])
        parser.add_argument("--lr", type=float, default=0.1, help="rate")
        parser.add_argument("--seed", type=int, default=0, help="of the order")
        parser.add_argument("--root", help="folder (default: none)")
        add_switch(parser, "--flip", default=True, help="mirror images")
        add_switch(parser, "--rare", default=False, help="as its name says")
        with pytest.raises(SystemExit, match="0"):
            parser.parse_args(words)
        return capsys.readouterr().out

    common = shown("--help")
    assert "rate (default: 0.1)" in common and "--help all" in common and "--seed" not in common
    every = shown("--help", "all")
    for text in ("rate (default: 0.1)", "of the order (default: 0)", "folder (default: none)",
                 "mirror images (on by default)", "as its name says"):
        assert text in every
    assert "None" not in every and "False" not in every


def test_flags_that_set_the_same_value_exclude_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = FlagParser(prog="x")
    for name in ("sgd", "adam"):
        parser.add_argument(f"--{name}", dest="optimizer", action="store_const", const=name)
    add_switch(parser, "--flip", default=True, help="mirror images")
    assert not parser.parse_args(["--flip", "--no_flip"]).flip
    with pytest.raises(SystemExit):
        parser.parse_args(["--sgd", "--adam"])
    assert "--adam and --sgd exclude each other" in capsys.readouterr().err


def test_the_values_of_a_repeated_flag_are_collected() -> None:
    parser = FlagParser(prog="train.py")
    parser.add_argument("--extra_data", action=Repeated, default=())
    assert parser.parse_args([]).extra_data == ()
    words = ["--extra_data", "a", "--extra_data", "b"]
    assert parser.parse_args(words).extra_data == ("a", "b")
    # again: the default is not changed
    assert parser.parse_args(words).extra_data == ("a", "b")
    assert (parser.given(words), parser.given([])) == ({"extra_data": ("a", "b")}, {})


@pytest.mark.parametrize(("error", "told"), [
    (MemoryError(), "the memory is full"),
    (MemoryError("Unable to allocate 28 GiB"), "Unable to allocate 28 GiB")])
def test_a_full_main_memory_is_told_in_one_line(
        error: MemoryError, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(error) == 1
    assert capsys.readouterr().err == (
        f"train.py: error: {told}. To use less memory, try: --bs_mult 1\n")


@pytest.mark.parametrize(("read", "text", "message"), [
    (cli.crop, "7x64", "7x64 is too small: give at least 8x8 pixels"),
    (cli.seed, str(2 ** 63), "is too large: give a number below 2\\^63"),
    (cli.seed, "-1", "is not a whole number of at least 0")])
def test_a_value_out_of_range_is_refused(
        read: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read(text)


def test_the_help_shows_defaults_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = FlagParser(prog="x")
    parser.add_argument("--crop_size", type=cli.crop, default=(1024, 512), help="size")
    parser.add_argument("--kinds", nargs="+", default=["a", "b"], help="what")
    parser.add_argument("--scales", type=str, default=(0.5, 1.0), help="factors")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help", "all"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "size (default: 1024x512)" in printed
    assert "what (default: a b)" in printed
    assert "factors (default: 0.5,1.0)" in printed
