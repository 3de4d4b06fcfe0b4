from __future__ import annotations

import os
from pathlib import Path

import pytest

import train
from tools.maintainer.fault_drill import __main__ as fault_drill
from tools.maintainer.fault_drill import chaos
from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite

# the folder of ckpt-chaos on this machine
FOLDER = os.environ.get("CKPT_CHAOS")


def test_without_ckpt_chaos_the_drill_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert fault_drill.main(["--only", "chaos", "chaos_two", "--chaos", str(tmp_path)]) == 0
    reason = ("skipped: it needs ckpt-chaos in a folder of its own: pip install --target DIR "
              "ckpt-chaos==0.1.8, then --chaos DIR")
    assert capsys.readouterr().out.count(reason) == 2


def test_the_command_trains_into_the_folder_that_ckpt_chaos_gives(tmp_path: Path) -> None:
    site = DrillSite(tmp_path, steps=8, times=1, seed=0, points=12)
    words = chaos.command(site, ranks=2)
    assert words[words.index("--ranks") + 1] == "2"
    assert words[words.index("--max-points") + 1] == "12"
    flags = words[words.index("--") + 3:]
    args = train.build_parser().parse_args(flags)
    assert (args.ckpt, args.resume, args.max_iters, args.checkpoint_every) == ("{out}", "auto", 8,
                                                                               "2")
    assert Path(args.data_root).is_dir()


def test_every_run_must_pass() -> None:
    output = "#1 os.mkdir:run [before]   0   PASS\n\nPASS: 22\n"
    assert chaos.outcome(output, 0).startswith("22 of 22 runs went on")
    failed = "#7 open:a [torn]  2  resumed from step 0  0.0  LOST_WORK\nPASS: 21  LOST_WORK: 1\n"
    with pytest.raises(BrokenPromise, match=r"#7 open:a \[torn\]"):
        chaos.outcome(failed, 1)
    with pytest.raises(BrokenPromise, match="ckpt-chaos ended with 1:\nyour command failed"):
        chaos.outcome("your command failed on its own", 1)


@pytest.mark.slow
@pytest.mark.skipif(FOLDER is None, reason="CKPT_CHAOS names no folder with ckpt-chaos")
@pytest.mark.parametrize("drill", ["chaos", "chaos_two"])
def test_runs_that_are_killed_at_file_events_go_on(drill: str) -> None:
    assert fault_drill.main(["--only", drill, "--chaos", str(FOLDER), "--points", "8"]) == 0
