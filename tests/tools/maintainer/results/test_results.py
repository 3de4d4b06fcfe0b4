from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.maintainer.results import __main__ as results
from tools.maintainer.results import commands, pairs, results_page, studies
from tools.maintainer.results.text import percent, points, spread, table
from utils.evaluation.statistics import Comparison, bootstrap, paired_test, t_interval
from utils.files import ROOT, sha256

PLACE = "/home/someone/data/camvid"


def edit(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.fixture
def run(study: Path, tmp_path: Path) -> Path:
    """A finished and scored run of the study's row `b`, with seed 2, as it lies on the machine that
    trained it.
    """
    folder = tmp_path / "logs" / "b_s2"
    shutil.copytree(study / "b_s2", folder)
    shutil.rmtree(study / "b_s2")
    (folder / "eval_camvid_test").mkdir()
    for name in ("scores.json", "per_image.npz"):
        (folder / name).rename(folder / "eval_camvid_test" / name)
    (folder / "last.pth").write_bytes(b"weights")
    scores = folder / "eval_camvid_test/scores.json"
    settings = json.loads(scores.read_text())["settings"]
    edit(
        scores, snapshot_sha256=sha256(folder / "last.pth"),
        settings={
            **settings, "snapshot": str(folder / "last.pth"), "data_root": "../../data/camvid",
        },
    )
    words = [
        "/usr/bin/python3", "/home/someone/checkout/train.py", "--data_root", PLACE,
        "--ckpt=/scratch", "--fpn_dsn_loss", "--exp", "b_s2", "--seed", "2", "--snapshot",
        "/home/someone/logs/before/last.pth",
    ]
    edit(
        folder / "args.json", data_root=PLACE, ckpt="/scratch",
        pretrained=str(ROOT / "pretrained_models/x.pth"),
    )
    environment = json.loads((folder / "env.json").read_text())
    del environment["started"]
    (folder / "env.json").write_text(json.dumps({**environment, "command": words}))
    return folder


def add(run: Path, study: Path, *flags: str) -> int:
    return results.main(
        ["--runs", str(study.parent), "--study", study.name, "--add", str(run), *flags]
    )


def test_a_finished_run_is_kept_without_the_paths_of_its_machine(run: Path, study: Path) -> None:
    assert add(run, study, "--started", "2026-11-20") == 0
    kept = study / "b_s2"
    assert {path.name for path in kept.iterdir()} == {
        "args.json", "env.json", "metrics.jsonl", "scores.json", "per_image.npz",
    }
    text = "".join(path.read_text() for path in kept.glob("*.json*"))
    assert not re.search(r"/home|/scratch|/tmp|\.\./", text)
    found = studies.read(study).runs[-1]
    assert found.env["machine"] == "Linux x86_64"
    assert found.env["command"] == [
        "python", "train.py", "--data_root", "data/camvid", "--ckpt=logs", "--fpn_dsn_loss",
        "--exp", "b_s2", "--seed", "2", "--snapshot", "logs/before/last.pth",
    ]
    assert found.args["pretrained"] == "pretrained_models/x.pth"
    assert found.scores["settings"]["snapshot"] == "logs/b_s2/last.pth"
    assert found.env["started"] == "2026-11-20"
    assert (found.matrices == np.load(run / "eval_camvid_test/per_image.npz")["matrices"]).all()


def test_the_start_of_an_older_run_is_the_time_of_its_first_file(run: Path, study: Path) -> None:
    assert add(run, study) == 0
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00", studies.read(study).runs[-1].env["started"]
    )


def test_a_row_is_named_by_a_flag_or_by_the_run(
    run: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = run.rename(run.with_name("somehow"))
    assert add(other, study) == 2
    assert (
        "its name is not LABEL_s2, so it does not tell its row: give --label one of: a, b, c;"
        in (capsys.readouterr().err)
    )
    assert add(other, study, "--label", "d") == 2
    assert "study.yaml has no row 'd'" in capsys.readouterr().err
    assert add(other, study, "--label", "c") == 0
    assert studies.read(study).runs[-1].label == "c"


def test_a_kept_run_is_replaced_only_when_asked(
    run: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(run, study) == 0
    edit(run / "env.json", precision="fp32")
    assert add(run, study) == 2
    assert "is kept already: give --replace" in capsys.readouterr().err
    assert add(run, study, "--replace") == 0
    assert studies.read(study).runs[-1].env["precision"] == "fp32"


def unfinished(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:-1]))


def rescored(run: Path) -> None:
    shutil.copytree(run / "eval_camvid_test", run / "eval_again")


def best(run: Path) -> None:
    (run / "best.pth").write_bytes(b"better")
    edit(run / "args.json", train_split="train", val_split="test")
    edit(run / "eval_camvid_test/scores.json", snapshot_sha256=sha256(run / "best.pth"))


def other_images(run: Path) -> None:
    path = run / "eval_camvid_test/per_image.npz"
    arrays = dict(np.load(path))
    np.savez_compressed(path, **{**arrays, "names": arrays["names"][::-1]})


def changed(name: str) -> dict[str, str]:
    return {"diff": f"diff --git a/{name} b/{name}\nindex 1..2\n"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda run: (run / "args.json").unlink(),
            "args.json is missing: give the folder of a run",
        ),
        (lambda run: (run / "metrics.jsonl").write_text(""), "has not logged a step yet"),
        (unfinished, "has done 8 of 10 steps: finish it with `python train.py --resume"),
        (lambda run: edit(run / "args.json", max_iters=12), "has done 10 of 12 steps"),
        (lambda run: edit(run / "args.json", test_mode=True), "is a rehearsal"),
        (
            lambda run: shutil.rmtree(run / "eval_camvid_test"),
            "is not scored .* run `python eval.py --snapshot",
        ),
        (rescored, r"is scored 2 times \(eval_again, eval_camvid_test\): say with --evaluation"),
        (
            lambda run: (run / "last.pth").write_bytes(b"others"),
            r"is of a snapshot with SHA-256 .* score the run's own",
        ),
        (lambda run: (run / "last.pth").unlink(), "there is neither of"),
        (
            lambda run: edit(run / "env.json", **changed("network/heads/sfnet.py")),
            "network/heads/sfnet.py differed from commit 0123456, so nobody can run the same "
            "again: commit the change",
        ),
        (lambda run: edit(run / "env.json", commit=None), "names no commit"),
        (
            lambda run: edit(run / "args.json", train_split="test"),
            "test, on which it was trained, holds images of it",
        ),
        (best, "best.pth on test, and test, on which it was chosen, holds images of it"),
        (other_images, "scored on other images or classes"),
    ],
)
def test_a_run_that_results_cannot_stand_on_is_refused(
    run: Path, study: Path, capsys: pytest.CaptureFixture[str], spoil: Any, message: str
) -> None:
    spoil(run)
    assert add(run, study) == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(path.name for path in study.iterdir()) == [
        "a_s0", "a_s1", "b_s0", "b_s1", "study.yaml",
    ]


def test_the_first_images_alone_are_no_score(
    run: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "eval_camvid_test/scores.json"
    edit(path, settings={**json.loads(path.read_text())["settings"], "max_images": 3})
    assert add(run, study) == 2
    assert (
        "holds the first 3 images only: score again without --max_images" in capsys.readouterr().err
    )


def test_what_no_number_depends_on_may_differ_from_the_commit(run: Path, study: Path) -> None:
    edit(run / "env.json", **changed("results/README.md"))
    assert add(run, study) == 0
    assert studies.read(study).runs[-1].env["diff"] == ""


def test_a_checkpoint_that_was_chosen_elsewhere_is_kept_as_such(run: Path, study: Path) -> None:
    best(run)
    edit(run / "args.json", val_split="val")
    assert add(run, study) == 0
    assert studies.read(study).runs[-1].scores["settings"]["snapshot"] == "logs/b_s2/best.pth"


def test_one_of_several_evaluations_is_chosen_by_a_flag(run: Path, study: Path) -> None:
    rescored(run)
    assert add(run, study, "--evaluation", str(run / "eval_again")) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--add", "logs/x"], "--add RUN and --study NAME go together"),
        (["--study", "x"], "go together"),
        (["--evaluation", "x"], "--evaluation belongs to one run"),
        (
            ["--add", "a", "b", "--study", "x", "--evaluation", "y"],
            "--evaluation belongs to one run",
        ),
        (
            ["--add", "a", "--study", "x", "--started", "yesterday"],
            "'yesterday' is no date: write 2026-11-23",
        ),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags: list[str], message: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        results.main(flags)
    assert message in capsys.readouterr().err


def written(study: Path) -> str:
    out = study.parent / "README.md"
    assert results.main(["--runs", str(study.parent), "--out", str(out)]) == 0
    return out.read_text()


def test_the_page_says_what_was_asked_and_found(study: Path) -> None:
    found, text = studies.read(study), written(study)
    assert (
        "## Does it help?\n\nWhether `b` is better than `a`.\n\nScored: `last.pth` (averaged "
        "weights) on the 6 images of camvid `test`, 2 classes."
    ) in text
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


def test_the_page_compares_seed_by_seed_and_over_all(study: Path) -> None:
    found, text = studies.read(study), written(study)
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
        f"{100 * low:+.2f} to {100 * high:+.2f} |"
    ) in text.split("## In short")[1].split("##")[0]
    assert (
        "Flags that differ: `arch` fpn_b against fpn_a; equal budget, 10 steps of 4 images.\n"
        in text
    )
    dark = [one.scores["per_class_IoU"]["dark"] - other.scores["per_class_IoU"]["dark"]
            for one, other in found.paired("b", "a")]
    assert re.search(rf"\| dark \| .*\| {re.escape(f'{100 * np.mean(dark):+.2f}')} \|", text)


def test_another_budget_is_said(study: Path) -> None:
    edit(study / "b_s0/args.json", global_batch=8, crop_size=[24, 32])
    edit(study / "a_s0/args.json", crop_size=[48, 64])
    edit(study / "b_s1/env.json", data={"files": 18, "sha256_of_names_and_sizes": "cd"})
    assert (
        "`crop_size` [24, 32] against [48, 64]; **not at equal budget**, 10 steps of 8 images "
        "against 10 of 4; equal budget, 10 steps of 4 images; **not trained on the same files**.\n"
    ) in written(study)


def test_rows_that_were_not_scored_alike_are_said_not_to_be(study: Path) -> None:
    for path in study.glob("b_s*/scores.json"):
        edit(
            path, settings={**json.loads(path.read_text())["settings"], "flip": True, "exact": True}
        )
    assert "**not scored alike**, `flip` on against none, `exact` on against none.\n" in written(
        study
    )


def test_the_seeds_of_a_row_are_scored_alike(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study / "b_s1/scores.json"
    edit(
        path,
        settings={**json.loads(path.read_text())["settings"], "scales": [2.0], "deployed": True},
    )
    assert results.main(["--runs", str(study.parent)]) == 2
    assert (
        "are seeds of one row and were scored with other --deployed, --scales"
        in capsys.readouterr().err
    )


def test_the_page_stands_beside_its_studies(study: Path) -> None:
    assert results.main(["--runs", str(study.parent)]) == 0
    assert (study.parents[1] / "README.md").read_text().startswith("# Results")


def test_the_commands_of_further_seeds_are_said_by_what_differs(study: Path) -> None:
    edit(
        study / "b_s1/env.json",
        command=["python", "train.py", "--lr", "0.1", "--seed", "1", "--exp", "b_s1"],
    )
    text = written(study)
    assert (
        "python train.py --arch fpn_b --dataset camvid --data_root data/camvid --adamw --seed 0 "
        "--exp b_s0\npython eval.py --snapshot logs/b_s0/last.pth --data_root data/camvid --split "
        "test\npython train.py --lr 0.1 --seed 1 --exp b_s1\n"
    ) in text
    assert "# seed 2: the same with --seed 2 --exp b_s2" in text


def test_the_scoring_command_names_what_departs_from_the_defaults(study: Path) -> None:
    for path in study.glob("a_s*/scores.json"):
        settings = json.loads(path.read_text())["settings"]
        edit(
            path,
            settings={
                **settings, "scales": [0.75, 1.0], "flip": True, "crop_size": [240, 320],
                "weights": "raw", "precision": "fp32", "exact": True, "deployed": True,
                "dataset": "camvid_2",
            },
        )
    assert (
        "python eval.py --snapshot logs/a_s0/last.pth --dataset camvid_2 --data_root data/camvid "
        "--split test --weights raw \\\n    --crop_size 240x320 --scales 0.75,1.0 --flip --exact "
        "--deployed\n"
    ) in written(study)


def test_one_checkpoint_scored_in_two_ways_is_said_to_be_one(study: Path) -> None:
    for path in study.glob("*_s[12]"):
        shutil.rmtree(path)
    command = json.loads((study / "a_s0/env.json").read_text())["command"]
    edit(study / "b_s0/env.json", command=command)
    path = study / "b_s0/scores.json"
    edit(
        path, settings={**json.loads(path.read_text())["settings"], "scales": [2.0]},
        snapshot_sha256="a0" * 32,
    )
    assert "(`b` minus `a`). The same checkpoints, scored in two ways." in written(study)
    assert written(study).count("python train.py --arch fpn_a") == 1


def test_several_processes_are_started_by_torchrun(study: Path) -> None:
    edit(study / "a_s0/env.json", processes=2)
    text = written(study)
    assert "torchrun --nproc_per_node 2 train.py --arch fpn_a" in text
    assert "AMD EPYC, 1 thread, 2 processes" in text


def test_validations_on_the_way_are_listed(study: Path) -> None:
    edit(study / "a_s0/args.json", val_split="val")
    lines = [
        {"kind": "validation", "step": i, "epoch": i / 5, "mIoU": i / 100} for i in range(1, 21)
    ]
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


@pytest.mark.parametrize(
    ("over_seeds", "images", "said"),
    [
        ((0.01, 0.02), (0.005, 0.03), "larger than the noise"),
        ((-0.01, 0.02), (0.005, 0.03), "within the noise of the seeds"),
        (
            (0.01, 0.02), (-0.005, 0.03),
            "seeds agree, but the difference is within the noise of the images",
        ),
        ((-0.01, 0.02), (-0.005, 0.03), "within the noise, of the seeds and of the images"),
        ((-0.02, -0.01), (-0.03, -0.01), "larger than the noise"),
        (None, (0.005, 0.03), "One seed does not show"),
        (None, (-0.005, 0.03), "do not tell the two apart"),
    ],
)
def test_the_sentence_follows_the_intervals(
    over_seeds: tuple[float, float] | None, images: tuple[float, float], said: str
) -> None:
    found = pairs.Outcome([], [], Comparison(0.01, *images, 0.01), over_seeds)
    assert said in found.verdict


def test_an_interval_that_just_misses_0_proves_nothing_when_chance_gives_as_much() -> None:
    assert (
        "do not tell the two apart"
        in pairs.Outcome([], [], Comparison(0.01, 0.0001, 0.02, 0.08), None).verdict
    )


def test_a_long_command_is_wrapped_before_a_flag() -> None:
    command = "python train.py " + " ".join(f"--flag_{i} value" for i in range(20))
    lines = commands.wrapped(command).split("\n")
    assert all(len(line) <= 120 for line in lines)
    assert all(line.lstrip().startswith("--") for line in lines[1:])
    assert " ".join(line.removesuffix("\\").strip() for line in lines) == command


def test_numbers_are_written_with_what_is_known_of_them() -> None:
    assert (percent(0.12345), percent(None), percent(float("nan"))) == ("12.35", "-", "-")
    assert [points(value) for value in (0.0123, -0.0123, -1e-9, None)] == [
        "+1.23", "-1.23", "+0.00", "-",
    ]
    assert spread([0.5]) == "50.00"
    # sqrt(0.02)
    assert spread([0.5, None, 0.7]) == "60.00 ± 14.14"
    assert spread([None]) == "-"
    assert table(("a", "b"), [("x|y", 1)]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"


def test_a_folder_without_studies_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert results.main(["--runs", str(tmp_path), "--out", str(tmp_path / "x.md")]) == 2
    assert "holds no study" in capsys.readouterr().err
    assert not (tmp_path / "x.md").exists()


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
    assert (
        f"| `sfnet_resnet18` | the same, trained on crops of 240x320 | {100 * longest:.2f} |"
        in readme
    )
    pair = pairs.outcomes(studies.read(studies.RUNS / "camvid_pair"))[
        "sfnet_dfnetv1", "fpn_dfnetv1"
    ]
    assert pair.over_seeds is not None
    low, high = map(points, pair.over_seeds)
    assert (
        f"{points(pair.pooled.difference)} points over FPN, Student's 95 % interval {low} to {high}"
        in readme
    )
    short = pairs.outcomes(studies.read(studies.RUNS / "camvid_ablation"))["no_fam", "reference"]
    assert short.over_seeds is not None
    assert (
        f"leads by {percent(-short.pooled.difference)} points, interval "
        f"{percent(-short.over_seeds[1])} to {percent(-short.over_seeds[0])}."
    ) in readme
    assert said and said[1] == ", ".join(
        f"{100 * json.loads(path.read_text())['mIoU']:.2f}" for path in kept
    )


def test_kept_files_name_no_place_of_a_machine() -> None:
    kept = [path for path in studies.RUNS.glob("*/*/*") if path.suffix in (".json", ".jsonl")]
    assert [str(path) for path in kept if re.search(r'"(/|~|\.\./)', path.read_text())] == []
