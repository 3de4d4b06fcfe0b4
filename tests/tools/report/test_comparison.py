from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.report import __main__ as report
from utils.report import page, results


def test_the_page_of_two_models_is_written_into_the_folder_of_the_first(
        scored: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    flags = ["--compare", str(scored.a), str(scored.b), "--images", "2", "--out", str(out)]
    assert report.main(flags) == 0
    said = capsys.readouterr().out
    assert f"A: {scored.a}/eval_camvid_val\nB: {scored.b}/eval_camvid_val\n" in said
    # the sentence under the heading of the page
    assert re.search(r"\n([AB] is ahead by|A and B are level) .* permutation test p = ", said)
    assert f"\ncomparison in {out}\n" in said
    assert out.read_text().count('class="card"') == 2
    assert scored.paired == scored.a / "report" / "against_b.html" and scored.paired.is_file()


@pytest.mark.parametrize(("change", "message"), [
    ({"classes": "x"}, "only models of the same classes of one dataset can be compared"),
    ({"names": "y"}, "have no image in common")])
def test_models_that_cannot_be_compared_are_refused(
        scored: Any, tmp_path: Path, change: dict[str, str], message: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "b"
    shutil.copytree(scored.b, other)
    folder = other / "eval_camvid_val"
    with np.load(folder / "per_image.npz") as file:
        arrays = dict(file)
    for name, prefix in change.items():
        arrays[name] = np.char.add(prefix, arrays[name])
    np.savez(folder / "per_image.npz", **arrays)
    scores = json.loads((folder / "scores.json").read_text())
    ious = scores["per_class_IoU"].values()
    scores["per_class_IoU"] = dict(zip(arrays["classes"].tolist(), ious, strict=True))
    (folder / "scores.json").write_text(json.dumps(scores))
    with pytest.raises(ValueError, match=message):
        page.align(results.read(results.find(scored.a)), results.read(folder))
    if "names" in change:
        assert report.main(["--compare", str(scored.a), str(other)]) == 2
        assert message in capsys.readouterr().err


def test_a_comparison_is_about_the_common_images_in_one_order(scored: Any) -> None:
    of_a, of_b = (results.read(results.find(run)) for run in (scored.a, scored.b))
    a, b = page.align(of_a.select([4, 2, 9]), of_b)
    assert a.names == b.names == tuple(of_a.names[index] for index in (4, 2, 9))
    assert (b.matrices == of_b.matrices[[4, 2, 9]]).all()
    assert (a.matrices.sum(2) == b.matrices.sum(2)).all()
