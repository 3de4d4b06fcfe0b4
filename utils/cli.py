"""Command line flags, and the shell that every program runs in."""
from __future__ import annotations

import argparse
import difflib
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import torch

from utils import distributed, worker_errors
from utils.logs import start_logging
from utils.training.signals import Interrupted

log = logging.getLogger(__name__)

# exit codes
FAILED, REFUSED, LOST_PEER, STOPPED = 1, 2, 3, 130
# smallest side of a training crop or a sliding window, in pixels
SMALLEST_CROP = 8


def suggest(name: str, valid: Collection[str]) -> str:
    """Returns ", did you mean 'x' or 'y'?" for the nearest valid names, or "" if none is near."""
    near = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    return f", did you mean {' or '.join(map(repr, near))}?" if near else ""


class Command(NamedTuple):
    """A row of a table of subcommands: `add_flags(parser)` declares what `run(args)` reads."""

    help: str
    add_flags: Callable[[FlagParser], None]
    run: Callable[[argparse.Namespace], Any]


class FlagParser(argparse.ArgumentParser):
    """An `ArgumentParser` without abbreviations that suggests valid flags for unknown ones.

    Args:
        retired: flag of the reference implementation -> its successor, for the error.
        common: destinations of the flags that `--help` shows; then `--help all` shows every flag.
    """

    def __init__(self, *args: Any, retired: Mapping[str, str] | None = None,
                 common: Collection[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        if common:
            kwargs |= {"add_help": False, "usage": "%(prog)s [--FLAG VALUE ...]"}
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)
        self.retired = dict(retired or {})
        self.common = set(common)
        if common:
            self.add_argument("-h", "--help", action=_Help)

    def parse_args(self, args: Sequence[str] | None = None,  # type: ignore[override]
                   namespace: Any = None) -> Any:
        words = _words(args)
        self._refuse_retired(words)
        parsed, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self._refuse_unknown(unknown[0])
        self._refuse_alternatives(words)
        return parsed

    def add_commands(self, commands: Mapping[str, Command]) -> None:
        """Declares a table of required subcommands; the name becomes `args.command`."""
        parsers = self.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, command in commands.items():
            parser = parsers.add_parser(name, help=command.help, description=command.help)
            command.add_flags(parser)

    def given(self, args: Sequence[str] | None = None) -> dict[str, Any]:
        """Returns only the flags that the command line names, by destination."""
        unset = object()
        blank = argparse.Namespace(**{action.dest: unset for action in self._actions})
        parsed, _ = self.parse_known_args(_words(args), blank)
        return {name: value for name, value in vars(parsed).items() if value is not unset}

    def error(self, message: str) -> NoReturn:
        """Prints one line instead of the whole usage, and exits with status 2."""
        if not distributed.may_report():
            self.exit(2)
        every = "--help all" if self.common else "--help"
        self.exit(2, f"{self.prog}: error: {message} (all flags: {self.prog} {every})\n")

    def _refuse_retired(self, words: Sequence[str]) -> None:
        for word in words:
            flag = word.split("=", 1)[0]
            if flag in self.retired:
                self.error(f"{flag} is retired: use {self.retired[flag]}")

    def _refuse_alternatives(self, words: Sequence[str]) -> None:
        """Exits if flags that set the same value, such as `--sgd` and `--adam`, are both given.

        `--x` and `--no_x` may follow each other: the last one counts.
        """
        flags = {word.split("=", 1)[0] for word in words}
        given: dict[str, set[str]] = {}
        for action in self._actions:
            if flags & set(action.option_strings):
                name = action.option_strings[0].replace("--no_", "--", 1)
                given.setdefault(action.dest, set()).add(name)
        for names in given.values():
            if len(names) > 1:
                self.error(f"{' and '.join(sorted(names))} exclude each other: give one of them")

    def _refuse_unknown(self, word: str) -> NoReturn:
        flag = word.split("=", 1)[0]
        if not flag.startswith("-"):
            self.error(f"unexpected word {word!r}: every argument of {self.prog} is a --flag or "
                       "the value of a flag")
        self.error(f"unknown flag {flag}{suggest(flag, self._all_flags())}")

    def _all_flags(self) -> list[str]:
        """Returns every flag of this parser and of its subcommands."""
        parsers: list[argparse.ArgumentParser] = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
        return [flag for parser in parsers for flag in parser._option_string_actions]


class HelpFormatter(argparse.HelpFormatter):
    """Adds to each flag what happens without it, unless its help text says so."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        says_so = re.search("default:|by default|the default", text)
        if says_so or default is False or default in (None, "", (), argparse.SUPPRESS):
            return text
        if isinstance(action, _Switch):
            return f"{text} (on by default)"
        if action.nargs == 0:
            is_default = getattr(action, "const", None) == default
            return f"{text} (the default)" if is_default else text
        if isinstance(default, list | tuple):
            separator = ","
            if action.nargs:
                separator = " "
            elif action.type in (size, crop):
                separator = "x"
            return f"{text} (default: {separator.join(map(str, default))})"
        return f"{text} (default: %(default)s)"


class _Help(argparse.Action):
    """`--help` shows the common flags of a `FlagParser`, `--help all` every flag."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs="?", choices=["all"],
                         default=argparse.SUPPRESS,
                         help="show these flags and exit; --help all shows every flag")

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        assert isinstance(parser, FlagParser)
        for action in parser._actions:
            is_shown = action is self or action.dest in parser.common
            if values is None and not is_shown:
                action.help = argparse.SUPPRESS
        parser.print_help()
        parser.exit()


def _words(args: Sequence[str] | None) -> list[str]:
    """Returns the words of the command line, without the rank that a launcher adds.

    torch.distributed.launch passes `--local-rank=0` beside the environment that torchrun sets.
    """
    words = sys.argv[1:] if args is None else args
    has_launcher = "LOCAL_RANK" in os.environ
    return [word for word in words
            if not (has_launcher and re.fullmatch(r"--local[-_]rank=\d+", word))]


class _Switch(argparse.Action):
    """`--flip` stores True, `--no_flip` stores False."""

    def __init__(self, option_strings: Sequence[str], dest: str, default: bool | None,
                 help: str) -> None:
        positive = option_strings[0]
        super().__init__([positive, f"--no_{positive[2:]}"], dest, nargs=0, default=default,
                         help=help)

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        setattr(namespace, self.dest, not (option_string or "").startswith("--no_"))

    def format_usage(self) -> str:
        return " | ".join(self.option_strings)


def add_switch(group: argparse._ActionsContainer, flag: str, *, default: bool | None,
               help: str) -> None:
    """Declares `--x` and `--no_x` at once."""
    group.add_argument(flag, action=_Switch, default=default, help=help)


class Repeated(argparse.Action):
    """Collects the values of a flag that may be repeated, in a tuple as recorded flags hold it."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        earlier = getattr(namespace, self.dest, ())
        # `FlagParser.given` marks flags that are not given
        earlier = earlier if isinstance(earlier, tuple) else ()
        setattr(namespace, self.dest, (*earlier, values))


def size(text: str) -> tuple[int, int]:
    """Reads "N" or "HEIGHTxWIDTH" as (height, width) in pixels."""
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", text.strip())
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (height and width):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: give N or HEIGHTxWIDTH in "
                                         "pixels, such as 512x1024")
    return height, width


def crop(text: str) -> tuple[int, int]:
    """Reads a `size` of at least `SMALLEST_CROP` pixels each way."""
    height, width = size(text)
    if min(height, width) < SMALLEST_CROP:
        raise argparse.ArgumentTypeError(f"{height}x{width} is too small: give at least "
                                         f"{SMALLEST_CROP}x{SMALLEST_CROP} pixels")
    return height, width


def seed(text: str) -> int:
    """Reads a seed of torch's and numpy's generators."""
    number = int_from_0(text)
    if number >= 2 ** 63:
        raise argparse.ArgumentTypeError(f"{text} is too large: give a number below 2^63")
    return number


def positive_int(text: str) -> int:
    """Reads a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def int_from_0(text: str) -> int:
    """Reads a whole number of at least 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def count_or_fraction(text: str) -> float:
    """Reads a whole number of at least 0, or a fraction below 1."""
    if text.isdigit():
        return int(text)
    value = _float_or_nan(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0 or a "
                                         "fraction below 1")
    return value


def whole_numbers(text: str) -> tuple[int, ...]:
    """Reads whole numbers separated by commas, such as 14,15,16."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers: give them as "
                                         "in 14,15,16")
    return tuple(map(int, text.split(",")))


def fraction(text: str) -> float:
    """Reads a number from 0 to 1."""
    value = _float_or_nan(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def positive_number(text: str) -> float:
    """Reads a finite number above 0."""
    value = _float_or_nan(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def number_from_0(text: str) -> float:
    """Reads a finite number of at least 0."""
    value = _float_or_nan(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def _float_or_nan(text: str) -> float:
    """Reads a number; NaN, which lies in no range, if the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def run_program(program: str, work: Callable[[], int | None], *, resume: str = "",
                extra: str = "", less_memory: str = "") -> int:
    """Runs a program and returns its exit code; an expected error becomes one line.

    The log goes to the terminal, in place of handlers that were there before.

    Unexpected errors of a single process keep their traceback. With several processes, the one
    that fails exits at once without waiting for the others, which notice it: so the first message
    is that of the process where the error began. An error that all may have is printed once.

    Args:
        program: the program's name, for messages.
        work: returns the exit code; None means 0.
        resume: how to go on after a signal.
        extra: the extra of setup.cfg that installs the packages that `work` imports.
        less_memory: which flags make a network need less memory.

    Returns:
        2 if the input is invalid, 3 if another process is lost, 128 + the number of a signal.
    """
    start_logging()
    try:
        code = work() or 0
    except Interrupted as error:
        code = _report(error.exit_code, f"{program}: {error}{resume and f': {resume}'}")
    except KeyboardInterrupt:
        code = _report(STOPPED, f"{program}: stopped at once{resume and f'; {resume}'}")
    except ImportError as error:
        hint = f": install it with pip install '.[{extra}]'" if extra else ""
        code = _report(REFUSED, f"{program}: error: {error}{hint}", traced=True)
    except (ValueError, OSError) as error:
        code = _report(REFUSED, f"{program}: error: {error}", traced=True)
    except (torch.OutOfMemoryError, MemoryError) as error:
        code = _report(FAILED, f"{program}: error: {_out_of_memory(str(error), less_memory)}",
                       traced=True)
    except Exception as error:
        advice = worker_errors.remedy(error)
        if advice is not None:
            code = _report(FAILED, f"{program}: error: {advice}", traced=True)
        elif distributed.is_lost_peer(error):
            reason = str(error).splitlines()[0][-120:]
            code = _report(LOST_PEER, f"{program}: error: another process ended or is silent "
                                      f"({reason}): its own message stands above. Go on with "
                                      "--resume")
        elif distributed.world_size() == 1:
            raise
        else:
            traceback.print_exc()
            code = _report(FAILED, f"{program}: error: {type(error).__name__}: {error}")
    if code in (FAILED, REFUSED, LOST_PEER, STOPPED) and distributed.world_size() > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        # leaving in good order would wait for the other processes
        os._exit(code)
    distributed.stop()
    return code


def _out_of_memory(message: str, less_memory: str) -> str:
    """Returns in one line what torch or numpy say about a full memory, and what to do.

    Torch's message lists other processes as "Process 4711 has 9.50 GiB memory in use".
    """
    line = message.split(". ")[0] or "the memory is full"
    others = re.findall(r"Process (\d+) has ([\d.]+ \w+) memory in use", message)
    if others:
        listed = ", ".join(f"process {number} {size}" for number, size in others)
        line += (f". Others hold memory of this GPU ({listed}): stop them, or choose another GPU "
                 "with CUDA_VISIBLE_DEVICES=N")
    return f"{line}. To use less memory, try: {less_memory}" if less_memory else line


def _report(code: int, message: str, traced: bool = False) -> int:
    """Logs the message, on one process of each host; returns the code."""
    if distributed.may_report(is_signal=code > 128):
        log.error(message, exc_info=traced)
    return code
