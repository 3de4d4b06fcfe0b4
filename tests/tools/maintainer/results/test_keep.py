from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tools.maintainer.results.conftest import add, edit
from tools.maintainer.results import studies
from utils.files import sha256


def test_a_finished_run_is_kept_without_the_paths_of_its_machine(run: Path, study: Path) -> None:
    assert add(run, study, "--started", "2026-11-20") == 0
    kept = study / "b_s2"
    assert {path.name for path in kept.iterdir()} == {"args.json", "env.json", "metrics.jsonl",
                                                      "scores.json", "per_image.npz"}
    text = "".join(path.read_text() for path in kept.glob("*.json*"))
    assert not re.search(r"/home|/scratch|/tmp|\.\./", text)
    found = studies.read(study).runs[-1]
    assert found.env["machine"] == "Linux x86_64"
    assert found.env["command"] == ["python", "train.py", "--data_root", "data/camvid",
                                    "--ckpt=logs", "--fpn_dsn_loss", "--exp", "b_s2", "--seed", "2",
                                    "--snapshot", "logs/before/last.pth"]
    assert found.args["pretrained"] == "pretrained_models/x.pth"
    assert found.args["teacher"] == "logs/large/last.pth"
    assert found.args["extra_data"] == ["data/more/dataset.yaml:train:0.5"]
    assert found.scores["settings"]["snapshot"] == "logs/b_s2/last.pth"
    assert found.env["started"] == "2026-11-20"
    assert (found.matrices == np.load(run / "eval_camvid_test/per_image.npz")["matrices"]).all()


def test_groups_and_counts_near_borders_are_kept(run: Path, study: Path) -> None:
    path = run / "eval_camvid_test/per_image.npz"
    arrays = dict(np.load(path))
    border = arrays["matrices"] // 2
    np.savez_compressed(path, **arrays, groups=np.array(list("xxyyzz")), border=border,
                        boundary_f=np.zeros((6, 1, 2)))
    assert add(run, study) == 0
    kept = np.load(study / "b_s2/per_image.npz")
    assert set(kept.files) == {"names", "classes", "matrices", "groups", "border"}
    assert kept["groups"].tolist() == list("xxyyzz") and (kept["border"] == border).all()
    assert studies.read(study).runs[-1].groups == tuple("xxyyzz")


def test_the_start_of_an_older_run_is_the_time_of_its_first_file(run: Path, study: Path) -> None:
    assert add(run, study) == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00",
                        studies.read(study).runs[-1].env["started"])


def test_a_row_is_named_by_a_flag_or_by_the_run(run: Path, study: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    other = run.rename(run.with_name("somehow"))
    assert add(other, study) == 2
    assert ("its name is not LABEL_s2, so it does not tell its row: give --label one of: a, b, c;"
            in (capsys.readouterr().err))
    assert add(other, study, "--label", "d") == 2
    assert "study.yaml has no row 'd'" in capsys.readouterr().err
    assert add(other, study, "--label", "c") == 0
    assert studies.read(study).runs[-1].label == "c"


def test_a_kept_run_is_replaced_only_when_asked(run: Path, study: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
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
        (lambda run: edit(run / "args.json", test_mode=True), "was run with --test_mode"),
        (
            lambda run: shutil.rmtree(run / "eval_camvid_test"),
            "is not evaluated .* run `python eval.py --snapshot",
        ),
        (rescored,
         r"is evaluated 2 times \(eval_again, eval_camvid_test\): choose a folder with"),
        (
            lambda run: (run / "last.pth").write_bytes(b"others"),
            r"is of a snapshot with SHA-256 .* evaluate a snapshot of the run",
        ),
        (lambda run: (run / "last.pth").unlink(), "there is neither of"),
        (
            lambda run: edit(run / "env.json", **changed("network/heads/sfnet.py")),
            "network/heads/sfnet.py differed from commit 0123456, so the run cannot be "
            "reproduced: commit the change",
        ),
        (lambda run: edit(run / "env.json", commit=None), "names no commit"),
        (
            lambda run: edit(run / "args.json", train_split="test"),
            "on test, which shares images with test, on which it was trained",
        ),
        (best, "best.pth on test, which shares images with test, on which it was chosen"),
        (other_images, "scored on other images or classes"),
    ],
)
def test_a_run_that_results_cannot_stand_on_is_refused(
    run: Path, study: Path, capsys: pytest.CaptureFixture[str], spoil: Any, message: str
) -> None:
    spoil(run)
    assert add(run, study) == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(path.name for path in study.iterdir()) == ["a_s0", "a_s1", "b_s0", "b_s1",
                                                             "study.yaml"]


def test_the_first_images_alone_are_no_score(run: Path, study: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "eval_camvid_test/scores.json"
    edit(path, settings={**json.loads(path.read_text())["settings"], "max_images": 3})
    assert add(run, study) == 2
    assert ("holds the first 3 images only: evaluate again without --max_images"
            in capsys.readouterr().err)


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


def test_kept_files_name_no_place_of_a_machine() -> None:
    kept = [path for path in studies.RUNS.glob("*/*/*") if path.suffix in (".json", ".jsonl")]
    assert [str(path) for path in kept if re.search(r'"(/|~|\.\./)', path.read_text())] == []
