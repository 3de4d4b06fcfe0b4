"""The summary of a split as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from datasets.listing import Sample
from datasets.spec import ClassInfo, DatasetSpec
from tools.check_dataset.inspection import Finding, Problem, Summary
from tools.check_dataset.report import MAX_PRINTED, as_json, class_weights, describe

SPEC = DatasetSpec(
    name="tiny",
    title="Tiny",
    classes=(ClassInfo("road", (1, 2, 3), (4,)), ClassInfo("tram", (4, 5, 6), (7,))),
    layouts=(),
    splits={},
    hint="",
    unlabeled=("test",),
)


def summary_of(*problems: Problem) -> Summary:
    summary = Summary()
    sample = Sample("a", Path("a"), Path("b"), SPEC)
    summary.add(sample, Finding((2, 5), {4: 6, 255: 4}, problems))
    return summary


def test_a_table_of_classes_tells_which_are_absent() -> None:
    lines = describe(SPEC, "train", summary_of()).splitlines()
    assert lines == ["train: 1 readable images (1 of 2x5)",
                     "  class   pixels   images  median-frequency weight",
                     "  road  100.00 %        1  1.000",
                     "  tram   0.00 %        0  1.000  (absent)",
                     "  ignored 40.00 % of all pixels, unmapped 0.00 %",
                     "  raw ids and their pixels: 4: 6; 255: 4"]


def test_only_some_problems_of_a_kind_are_printed() -> None:
    problems = [Problem("bad file", f"{k}.png", f"{k} is bad") for k in range(MAX_PRINTED + 2)]
    text = describe(SPEC, "train", summary_of(*problems))
    assert f"PROBLEM: bad file: {len(problems)}" in text
    assert f"{MAX_PRINTED - 1} is bad" in text
    assert f"{MAX_PRINTED} is bad" not in text
    assert "and 2 more (--json FILE lists all)" in text


def test_many_sizes_are_shortened() -> None:
    summary = Summary()
    summary.sizes.update((1, width) for width in range(7))
    assert "and 2 more sizes" in describe(SPEC, "train", summary)


def test_the_json_holds_every_problem_and_count() -> None:
    problems = [Problem("bad file", f"{k}.png", f"{k} is bad") for k in range(9)]
    report = json.loads(json.dumps(as_json(SPEC, "train", summary_of(*problems))))
    assert len(report["problems"]) == 9
    assert report["class_pixels"] == {"road": 6, "tram": 0, "ignored": 4, "unmapped": 0}
    assert report["raw_ids"][0] == {"table": "Tiny", "raw": "4", "pixels": 6, "images": 1,
                                    "class": "road"}
    assert report["labelled"]
    assert not as_json(SPEC, "test", Summary())["labelled"]


def test_class_weights_are_named() -> None:
    assert class_weights(SPEC, summary_of()) == {"road": 1.0, "tram": 1.0}
