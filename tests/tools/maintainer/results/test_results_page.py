from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.tools.maintainer.results.conftest import edit, written
from tools.maintainer.results import __main__ as results
from tools.maintainer.results import results_page, studies
from tools.maintainer.results.readme import BEGIN, END
from tools.maintainer.results.text import percent
from utils.evaluation.statistics import bootstrap, paired_test, t_interval
from utils.files import ROOT


def test_the_page_says_what_was_asked_and_found(study: Path) -> None:
    found, text = studies.read(study), written(study)
    assert ("## Does it help?\n\nWhether `b` is better than `a`.\n\nScored: `last.pth` (averaged "
            "weights) on the 6 images of camvid `test`, 2 classes.") in text
    a, b = (found.labels[label] for label in "ab")
    for runs in (a, b):
        low, high = bootstrap(np.stack([run.matrices for run in runs]))
        scores = [run.scores["mIoU"] for run in runs]
        assert (
            f"| {len(runs)} | {100 * np.mean(scores):.2f} ± {100 * np.std(scores, ddof=1):.2f} | "
            f"{', '.join(map(percent, scores))} | {100 * low:.2f} to {100 * high:.2f} |"
        ) in text
    # has no run
    assert "`c`" not in text
    assert "| a_s1 |" in text
    assert "| 10 | 40 | 2 | 0.00 h | bf16 | AMD EPYC, 1 thread | `0123456` | 2026-11-23 |" in text


def unwrapped(page: str) -> str:
    """Returns the page with each paragraph on one line."""
    return re.sub(r"(?<!\n)\n(?=[^\n|])", " ", page)


def test_the_page_compares_seed_by_seed_and_over_all(study: Path) -> None:
    found, text = studies.read(study), unwrapped(written(study))
    each = []
    for one, other in found.paired("b", "a"):
        tested = paired_test(one.matrices, other.matrices)
        each.append(tested.difference)
        assert (f"| seed {one.seed} | {100 * tested.difference:+.2f} | {100 * tested.low:+.2f} to "
                f"{100 * tested.high:+.2f} | {tested.p_value:.3f} |") in text
    low, high = t_interval(each)
    assert (
        f"Over 2 seeds the mean difference is {100 * np.mean(each):+.2f} points, Student's 95 % "
        f"interval {100 * low:+.2f} to {100 * high:+.2f} (two seeds bound it loosely)."
    ) in text
    assert (
        f"| [Does it help?](#does-it-help) | with - without | 2 | {100 * np.mean(each):+.2f} | "
        f"{100 * low:+.2f} to {100 * high:+.2f} | yes | the interval excludes zero |"
    ) in text.split("## In short")[1].split("##")[0]
    assert ("Flags that differ: `arch` fpn_b against fpn_a; equal budget, 10 steps of 4 images.\n"
            in text)
    dark = [one.scores["per_class_IoU"]["dark"] - other.scores["per_class_IoU"]["dark"]
            for one, other in found.paired("b", "a")]
    # fewer classes than rows: a class is a column
    assert "| IoU of each class, % | dark | bright |" in text
    assert re.search(rf"\| `b` - `a` \| {re.escape(f'{100 * np.mean(dark):+.2f}')} \|", text)


def test_another_budget_is_said(study: Path) -> None:
    edit(study / "b_s0/args.json", global_batch=8, crop_size=[24, 32])
    edit(study / "a_s0/args.json", crop_size=[48, 64])
    edit(study / "b_s1/env.json", data={"files": 18, "sha256_of_names_and_sizes": "cd"})
    assert (
        "`crop_size` [24, 32] against [48, 64]; **not at equal budget**, 10 steps of 8 images "
        "against 10 of 4; equal budget, 10 steps of 4 images; **not trained on the same files**.\n"
    ) in unwrapped(written(study))


def test_a_flag_younger_than_one_run_had_its_default_there(study: Path) -> None:
    for path in study.glob("b_s*/args.json"):
        edit(path, cutmix=0.5, mosaic=0.0, flag_that_is_gone="on")
    assert ("Flags that differ: `arch` fpn_b against fpn_a, `cutmix` 0.5 against 0.0; equal budget"
            in unwrapped(written(study)))


def test_rows_that_were_not_scored_alike_are_said_not_to_be(study: Path) -> None:
    for path in study.glob("b_s*/scores.json"):
        edit(path,
             settings={**json.loads(path.read_text())["settings"], "flip": True, "exact": True})
    text = unwrapped(written(study))
    assert "**not scored alike**, `flip` on against none, `exact` on against none.\n" in text


def test_the_seeds_of_a_row_are_scored_alike(study: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    path = study / "b_s1/scores.json"
    edit(path,
         settings={**json.loads(path.read_text())["settings"], "scales": [2.0], "deployed": True})
    assert results.main(["--runs", str(study.parent)]) == 2
    assert ("are seeds of one row and were scored with other --deployed, --scales"
            in capsys.readouterr().err)


def test_the_page_stands_beside_its_studies(study: Path) -> None:
    assert results.main(["--runs", str(study.parent)]) == 0
    assert (study.parents[1] / "README.md").read_text().startswith("# Results")


def test_one_checkpoint_scored_in_two_ways_is_said_to_be_one(study: Path) -> None:
    for path in study.glob("*_s[12]"):
        shutil.rmtree(path)
    command = json.loads((study / "a_s0/env.json").read_text())["command"]
    edit(study / "b_s0/env.json", command=command)
    path = study / "b_s0/scores.json"
    edit(path, settings={**json.loads(path.read_text())["settings"], "scales": [2.0]},
         snapshot_sha256="a0" * 32)
    assert "(`b` minus `a`). The same checkpoints, scored in two ways." in written(study)
    assert written(study).count("python train.py --arch fpn_a") == 1


def test_validations_on_the_way_are_listed(study: Path) -> None:
    edit(study / "a_s0/args.json", val_split="val")
    lines = [{"kind": "validation", "step": i, "epoch": i / 5, "mIoU": i / 100}
             for i in range(1, 21)]
    with (study / "a_s0/metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    assert (
        "| a_s0 | `val` | 0.4: 2.00, 1: 5.00, 1.6: 8.00, 2.2: 11.00, 2.8: 14.00, 3.4: 17.00, 4: "
        "20.00 | 20.00 after 4 |"
    ) in written(study)


def test_boundaries_are_listed_where_they_were_scored(study: Path) -> None:
    edit(study / "a_s0/scores.json", boundary_F={"0.005": {"mean": 0.25, "mean_present": 0.2}})
    assert "| `a` | 0.005 | 25.00 | 20.00 |" in written(study)


def test_measured_tables_stand_under_their_commands(study: Path) -> None:
    measured = [
        {
            "title": "By hand", "commands": ["sh scripts/quickstart.sh"],
            "columns": ["class", "IoU"], "rows": [["road", 87.3], ["sky", None]],
            "commit": "0123456", "hardware": "A laptop", "date": "2026-11-23", "note": "Once.",
        }
    ]
    (study / "measured.json").write_text(json.dumps(measured))
    assert (
        "### By hand\n\n```bash\nsh scripts/quickstart.sh\n```\n\n| class | IoU |\n| --- | --- "
        "|\n| road | 87.3 |\n| sky | - |\n\nOnce. A laptop; commit `0123456`, 2026-11-23."
    ) in written(study)


def test_brief_studies_are_rows_of_one_table(study: Path) -> None:
    found = studies.read(study)
    differences = [paired_test(one.matrices, other.matrices).difference
                   for one, other in found.paired("b", "a")]
    low, high = t_interval(differences)
    with (study / "study.yaml").open("a") as file:
        file.write("\nbrief: true\n")
    text = written(study)
    assert "## Does it help?" not in text and "## In short" not in text
    scores = ", ".join(percent(run.scores["mIoU"]) for run in found.labels["b"])
    row = next(line for line in text.splitlines() if line.endswith("than `a` |"))
    assert row.startswith("| [Does it help?](runs/helps/study.yaml) | with | `b` | ")
    assert row.endswith(f"| {scores} | {100 * np.mean(differences):+.2f} ({100 * low:+.2f} to "
                        f"{100 * high:+.2f}) than `a` |")
    assert "| without | `a` | " in text


def test_groups_of_correlated_images_are_named(study: Path) -> None:
    for path in study.glob("*_s*/per_image.npz"):
        arrays = dict(np.load(path))
        np.savez_compressed(path, **arrays, groups=np.array(list("xxyyzz")))
    runs = studies.read(study).labels["a"]
    low, high = bootstrap(np.stack([run.matrices for run in runs]), groups="xxyyzz")
    text = unwrapped(written(study))
    assert "the 6 images of camvid `test`, in 3 groups of correlated images, 2 classes." in text
    assert f"| {100 * low:.2f} to {100 * high:.2f} |" in text


def test_a_study_without_runs_is_left_out(study: Path) -> None:
    empty = study.with_name("planned")
    empty.mkdir()
    (empty / "study.yaml").write_text("title: Planned\nplace: 0\nquestion: none yet\n")
    assert "Planned" not in written(study)


def test_rows_of_another_study_are_borrowed(study: Path) -> None:
    other = study.with_name("other")
    other.mkdir()
    (other / "study.yaml").write_text(
        "title: Other\nplace: 2\nquestion: q\nrows: {a: lent}\nborrow: {a: helps}\n"
    )
    assert [run.folder for run in studies.read(other).runs] == [study / "a_s0", study / "a_s1"]
    # has none of its own yet
    assert "## Other" not in written(study)
    (other / "study.yaml").write_text(
        "title: Other\nplace: 2\nquestion: q\nrows: {a: lent, d: own}\nborrow: {a: helps}\n"
    )
    shutil.copytree(study / "b_s0", other / "d_s0")
    text = written(study).split("## Other")[1]
    assert "| lent | `a` | 2 |" in text
    # what it took stands in the other section
    assert "| d_s0 |" in text and "| a_s0 |" not in text
    assert "--exp b_s0" in text and "--exp a_s0" not in text


def test_the_committed_page_is_what_the_kept_runs_give() -> None:
    assert (ROOT / "results/README.md").read_text(encoding="utf-8") == results_page.write(
        studies.read_all()
    ), (
        "results/README.md is not what results/runs/ gives: run `python -m "
        "tools.maintainer.results` and commit the page"
    )


def test_the_readme_gives_the_scores_of_the_kept_runs() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    said = re.search(r"\| `sfnet_dfnetv1` \| CamVid test[^|]*? \| ([\d., ]+) \(two seeds\)", readme)
    kept = sorted((ROOT / "results/runs/camvid_recipe").glob("sfnet_dfnetv1_s*/scores.json"))
    longest = json.loads(
        (ROOT / "results/runs/camvid_best/sfnet_resnet18_long_s0/scores.json").read_text()
    )["mIoU"]
    assert (f"| `sfnet_resnet18` | the same, trained on crops of 240x320 | {100 * longest:.2f} |"
            in readme)
    claims = results_page.claims(studies.read_all())
    assert f"{BEGIN} {claims} {END}" in readme, (
        "run `python -m tools.maintainer.results --readme README.md`")
    assert said and said[1] == ", ".join(f"{100 * json.loads(path.read_text())['mIoU']:.2f}"
                                         for path in kept)
