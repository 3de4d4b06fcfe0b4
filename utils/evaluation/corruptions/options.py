"""The flags `--corruption` and `--severity`."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from utils.cli import suggest
from utils.evaluation.corruptions.table import KINDS, SEVERITIES, Corruption

ALL = "all"
DEFAULT_SEVERITY = 3


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of `CorruptionOptions`."""
    group = parser.add_argument_group("Corruptions")
    group.add_argument("--corruption", "--corruptions", nargs="+", dest="corruptions",
                       metavar="KIND", default=(),
                       help="score the split as it is, and then corrupted: any of "
                            f"{', '.join(KINDS)}; or {ALL}")
    group.add_argument("--severity", nargs="+", type=int, metavar="N",
                       help="strengths of the corruptions, from 1 to 5 (default: "
                            f"{DEFAULT_SEVERITY})")


@dataclass(frozen=True)
class CorruptionOptions:
    """Which corruptions are scored.

    Args:
        kinds: keys of `KINDS`; empty for none.
        severities: each from 1 to 5.

    Raises:
        ValueError: a kind is unknown, or a severity is out of range.
    """

    kinds: tuple[str, ...] = ()
    severities: tuple[int, ...] = (DEFAULT_SEVERITY,)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                suggestion = suggest(kind, KINDS) or "."
                raise ValueError(f"--corruption {kind} is unknown{suggestion} It takes: "
                                 f"{', '.join(KINDS)}; or {ALL}.")
        for severity in self.severities:
            if severity not in SEVERITIES:
                raise ValueError(f"--severity {severity} is out of range: it is from 1 to 5.")

    @classmethod
    def from_args(cls, args: Namespace) -> CorruptionOptions:
        """Reads the flags of `add_flags`. Raises ValueError for a severity of no corruption."""
        if args.severity and not args.corruptions:
            raise ValueError("--severity has no effect without --corruption: add it.")
        # each once, and in the order of the table
        named = KINDS if ALL in args.corruptions else args.corruptions
        kinds = [kind for kind in KINDS if kind in named]
        kinds += [kind for kind in args.corruptions if kind not in KINDS and kind != ALL]
        return cls(tuple(kinds), tuple(sorted({*(args.severity or (DEFAULT_SEVERITY,))})))

    def check(self, labeled: bool, title: str, shards: int) -> None:
        """Raises ValueError if corruptions cannot be scored on a split.

        Args:
            labeled: whether the split has labels.
            title: of the split, for the message.
            shards: value of `--split_count`.
        """
        if self.kinds and not labeled:
            raise ValueError(f"--corruption: {title} has no labels, so there is nothing to score.")
        if self.kinds and shards > 1:
            raise ValueError("--corruption scores one kind after the other, which shards do not: "
                             "leave out --split_count (torchrun divides the images too).")

    def plan(self) -> list[Corruption | None]:
        """Returns what is scored, in order; None stands for the images as they are."""
        return [None, *(Corruption(kind, severity) for kind in self.kinds
                        for severity in self.severities)]
