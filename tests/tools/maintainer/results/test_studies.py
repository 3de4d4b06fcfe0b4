from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tools.maintainer.results import studies

TABLE = {
    "title": "t", "commands": ["sh scripts/quickstart.sh"], "columns": ["class", "IoU"],
    "rows": [["road", 87.3]], "commit": "0123456", "hardware": "a laptop", "date": "2026-11-23",
}


def edit(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_a_study_holds_its_runs_in_the_order_of_rows_and_seeds(study: Path) -> None:
    found, = studies.read_all(study.parent)
    assert (found.name, found.title, found.compare) == ("helps", "Does it help?",
                                                        (("b", "a"), ("c", "a")))
    assert [run.name for run in found.runs] == ["a_s0", "a_s1", "b_s0", "b_s1", "b_s2"]
    assert {label: len(runs) for label, runs in found.labels.items()} == {"a": 2, "b": 3}
    assert [(one.name, other.name)
            for one, other in found.paired("b", "a")] == [("b_s0", "a_s0"), ("b_s1", "a_s1")]
    assert found.paired("c", "a") == []


def test_a_run_tells_what_it_scored_and_how_long_it_took(study: Path) -> None:
    run = studies.read(study).runs[0]
    assert run.matrices.shape == (6, 2, 2)
    assert run.classes == ("dark", "bright")
    assert run.images[0] == "frame0"
    assert np.diagonal(run.matrices.sum(0)).sum() / run.matrices.sum() == pytest.approx(
        run.scores["pixel_accuracy"]
    )
    assert (run.label, run.seed, run.args["arch"], run.env["threads"]) == ("a", 0, "fpn_a", 1)
    assert [line["step"] for line in run.logged] == [4, 8, 10]
    assert run.validations == []
    assert (run.batch, run.seconds) == (4, 10 * 4 / 8.0)


def test_the_batch_of_an_older_run_is_found_from_its_parts(study: Path) -> None:
    path = study / "a_s0" / "args.json"
    flags = json.loads(path.read_text())
    del flags["global_batch"]
    path.write_text(json.dumps({**flags, "bs_mult": 3}))
    assert studies.read(study).runs[0].batch == 3


def test_measured_tables_are_read(study: Path) -> None:
    (study / "measured.json").write_text(json.dumps([TABLE]))
    table, = studies.read(study).measured
    assert (table.columns, table.rows, table.note) == (("class", "IoU"), (("road", 87.3),), "")


@pytest.mark.parametrize(("entries", "message"),
                         [({"titel": "x"}, r"titel"),
                          ({"rows": [["road"]]}, "more or fewer values than there are columns")])
def test_a_measured_table_that_lacks_something_is_refused(study: Path, entries: dict[str, Any],
                                                          message: str) -> None:
    (study / "measured.json").write_text(json.dumps([{**TABLE, **entries}]))
    with pytest.raises(ValueError, match=rf"measured.json, table 1: .*{message}"):
        studies.read(study)


@pytest.mark.parametrize(("text", "message"), [
    ("titel: x\nplace: 1\nquestion: y", "unknown entry 'titel', did you mean 'title'"),
    ("place: 1\nquestion: y", "'title' is missing"),
    ("title: x\nplace: 1\nquestion: y\nrows: {a: x}\ncompare: [[a, b]]", "'b' does not"),
    ("title: x\nplace: 1\nquestion: y\nrows: {a: x}\ncompare: [[a]]", "pairs of labels"),
    ("[", "no YAML mapping"), ("just text", "no YAML mapping")])
def test_a_study_that_is_not_one_is_refused(study: Path, text: str, message: str) -> None:
    (study / "study.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        studies.read(study)


def test_a_row_that_no_study_keeps_is_not_borrowed(study: Path) -> None:
    with (study / "study.yaml").open("a") as file:
        file.write("borrow: {c: helped}\n")
    with pytest.raises(ValueError,
                       match="borrows 'c' from 'helped', and there is no study of that name"):
        studies.read(study)


def test_folders_without_a_study_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no study \(no \*/study.yaml\)"):
        studies.read_all(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no study: write one"):
        studies.read(tmp_path)


@pytest.mark.parametrize(("entry", "message"),
                         [("place: first", "'place' is a str, not a int"),
                          ("rows: [a, b]", "'rows' is a list, not a dict"),
                          ("compare: a", "'compare' is a str, not a list"),
                          ("title: 3", "'title' is a int, not a str"),
                          ("rows:", "'b' does not|compare takes pairs")])
def test_an_entry_of_another_kind_is_refused(study: Path, entry: str, message: str) -> None:
    path, name = study / "study.yaml", entry.split(":")[0]
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, **yaml.safe_load(entry)}))
    assert name in content
    with pytest.raises(ValueError, match=message):
        studies.read(study)


def test_an_entry_left_blank_is_none(study: Path) -> None:
    with (study / "study.yaml").open("a") as file:
        file.write("\nlimits:\nborrow:\n")
    assert studies.read(study).limits == ""


@pytest.mark.parametrize(("name", "message"), [
    ("a_s7", "its args.json says seed 0: rename the folder"), ("a", "a run is called LABEL_sSEED"),
    ("aa_s0", "did you mean 'a'")])
def test_a_misnamed_run_is_refused(study: Path, name: str, message: str) -> None:
    (study / "a_s0").rename(study / name)
    with pytest.raises(ValueError, match=message):
        studies.read(study)


@pytest.mark.parametrize("name", ["env.json", "metrics.jsonl", "scores.json", "per_image.npz"])
def test_a_run_that_lacks_a_file_is_refused(study: Path, name: str) -> None:
    (study / "b_s1" / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"b_s1.*{name}|{name}.*missing"):
        studies.read(study)


def test_damaged_files_are_refused(study: Path) -> None:
    (study / "b_s1" / "env.json").write_text("{")
    with pytest.raises(ValueError, match=r"env.json is damaged"):
        studies.read(study)
    (study / "b_s1" / "env.json").write_text("[]")
    with pytest.raises(ValueError, match=r"env.json holds a list"):
        studies.read(study)


def test_a_run_that_logged_nothing_is_refused(study: Path) -> None:
    (study / "b_s1" / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="no line of training"):
        studies.read(study)


def test_runs_that_were_scored_on_other_images_do_not_make_a_study(study: Path) -> None:
    path = study / "b_s1" / "per_image.npz"
    arrays = dict(np.load(path))
    np.savez_compressed(path, **{**arrays, "names": arrays["names"][::-1]})
    with pytest.raises(ValueError, match=r"scored on other images or classes .*score both alike"):
        studies.read(study)
