"""Compares docs/reproduce.md with the effective flags and expected scores of every launcher."""

import re
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import loss
import train
from network.checkpoints.sources import backbone_of, imagenet_file
from utils.training.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reproduce.md"
RUNS = sorted(path.stem.removeprefix("train_") for path in (ROOT / "scripts/train").glob("*.sh"))
HEADER = re.compile(
    r"# Expected mIoU: (?P<miou>\d+\.\d|not known)(?: %)? on .+? (?P<split>val|test)\b.*?"
    r"\((?P<kind>\w+)"
)
# The run of the first row of a table.
SHARED = "*unless listed below*"
RUN_NAME = re.compile(r"`([^`]+)`")
Row = dict[str, str]


def length(args: Namespace) -> str:
    return f"{args.max_iters:,} steps" if args.max_iters else f"{args.max_epoch} epochs"


def rate(args: Namespace) -> str:
    lr = args.lr * args.global_batch / 16 if args.scale_lr else args.lr
    parts = [
        f"{'' if args.optimizer == 'sgd' else 'AdamW '}{lr:g}",
        f"{args.lr_schedule} {args.poly_exp}",
    ]
    if args.head_lr_factor != 1:
        parts.append(f"decoder x{args.head_lr_factor:g}")
    return ", ".join(parts + [f"warm-up {args.warmup_steps}"] * bool(args.warmup_steps)) + (
        " each epoch" if args.lr_step == "epoch" else ""
    )


def ohem(args: Namespace) -> str:
    kept = args.ohem_min_kept
    return (
        f"{args.ohem_thresh}, {f'1/{round(1 / kept)}' if kept < 1 else f'{kept:,.0f}'}"
        if args.ohem
        else "-"
    )


def auxiliaries(args: Namespace) -> str:
    weight = loss.LossOptions.from_args(args).auxiliary_weight
    return "-" if weight is None else f"{weight:g}"


def start(args: Namespace) -> str:
    if args.snapshot:
        return (
            "`"
            + "/".join(Path(args.snapshot).parts[-2:])
            + "`"
            + ", new classifier" * args.reset_classifier
        )
    if args.pretrained != "auto":
        return "random weights"
    # the backbone has a file, whose name `python -m tools.weights list` tells
    assert imagenet_file(backbone_of(args.arch))
    return "ImageNet"


COLUMNS: dict[str, Callable[[Namespace], str]] = {
    "trains on": lambda args: {"trainval": "train, val"}.get(args.train_split, args.train_split),
    "rate": rate,
    "decay": lambda args: (
        f"{args.weight_decay:g} on {'all' if args.decay_norms else 'convolutions'}"
    ),
    "crop": lambda args: "{}x{}".format(*args.crop_size),
    "scale": lambda args: f"{args.scale_min} to {args.scale_max}",
    "jitter, blur": lambda args: f"{args.color_aug:g}, {args.gblur_prob * args.gblur:g}",
    "batch": lambda args: str(args.global_batch),
    "length": length,
    "class-uniform": lambda args: (
        f"{args.class_uniform_pct:g} of {args.class_uniform_tile}"
        if args.class_uniform_pct
        else "-"
    ),
    "OHEM": ohem,
    "aux": auxiliaries,
    "EMA": lambda args: f"{args.ema_decay:g}" if args.ema_decay else "-",
    "start": start,
}


def tables(section: str) -> Iterator[list[Row]]:
    """Yields the rows of each table of a section, as column -> cell.

    A row that names several runs becomes a row of each. Empty cells have the value of the first
    row. A run of an earlier table of the section that a table with a first row `SHARED` leaves out
    has that row.
    """
    named: list[str] = []
    for block in re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE):
        head, _, *body = [
            [cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()
        ]
        shared = body.pop(0) if body and body[0][0] == SHARED else None
        cells_of = {run: cells[1:] for cells in body for run in RUN_NAME.findall(cells[0])}
        if shared:
            cells_of = {run: [""] * (len(head) - 1) for run in named} | cells_of
        usual = shared[1:] if shared else [""] * (len(head) - 1)
        yield [
            {"run": run}
            | {
                name: cell or first
                for name, cell, first in zip(head[1:], cells, usual, strict=True)
            }
            for run, cells in cells_of.items()
        ]
        named += cells_of


def rows(column: str) -> list[Row]:
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [
        row for section in sections for table in tables(section) for row in table if column in row
    ]


def run_of(row: Row) -> str:
    return row["run"]


FLAGS, SCORES = rows("rate"), rows("mIoU, %")


@pytest.mark.parametrize("row", FLAGS, ids=run_of)
def test_a_run_trains_with_what_the_page_says(
    row: Row, handed: Callable[[Path], list[str]]
) -> None:
    run = run_of(row)
    given = (
        shlex.split(run) if run.startswith("--") else handed(ROOT / f"scripts/train/train_{run}.sh")
    )
    args = Namespace(**train.parse(["--dataset", "cityscapes", *given]).flags)
    assert {name: COLUMNS[name](args) for name in row if name != "run"} == {
        name: cell for name, cell in row.items() if name != "run"
    }


def test_the_page_tells_the_flags_and_the_score_of_every_launcher_once() -> None:
    assert sorted(run_of(row) for row in FLAGS if not run_of(row).startswith("--")) == RUNS
    assert sorted(run_of(row) for row in SCORES) == RUNS
    required = set(COLUMNS) - {"jitter, blur"}
    assert all(required <= set(row) for row in FLAGS)


def test_every_run_links_its_launcher() -> None:
    text = PAGE.read_text(encoding="utf-8")
    missing = [run for run in RUNS if f"[`{run}`](../scripts/train/train_{run}.sh)" not in text]
    assert missing == []


def test_every_recipe_stands_beside_the_others() -> None:
    shown = {run_of(row).split()[1] for row in FLAGS if run_of(row).startswith("--recipe")}
    assert shown == set(RECIPES)


@pytest.mark.parametrize("row", SCORES, ids=run_of)
def test_the_page_and_both_launchers_expect_the_same_score(row: Row) -> None:
    for program in ("train", "eval"):
        launcher = ROOT / f"scripts/{program}/{program}_{run_of(row)}.sh"
        expected = HEADER.match(launcher.read_text().splitlines()[1])
        assert expected is not None, launcher
        assert row["mIoU, %"] == expected["miou"].replace("not known", "-"), launcher
        assert row["of"] == expected["split"], launcher
        # measured, published or reported: in the same words
        if row["mIoU, %"] != "-":
            assert row["source"].startswith(expected["kind"]), launcher


def test_every_command_of_the_page_is_taken_with_its_launchers_flags(
    handed: Callable[[Path], list[str]],
) -> None:
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^sh (scripts/train/\w+\.sh) ([^#\n]+)", text, re.MULTILINE)
    assert len(commands) >= 3
    for launcher, flags in commands:
        train.parse([*handed(ROOT / launcher), *shlex.split(flags)])
