from __future__ import annotations

import pytest

from tools.maintainer.fault_drill import __main__ as fault_drill
from tools.maintainer.fault_drill import hosts
from tools.maintainer.fault_drill.site import BrokenPromise, DrillSite


def test_a_broken_promise_and_a_machine_without_ip_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(site: DrillSite) -> str:
        raise BrokenPromise("3 tensors differ")

    monkeypatch.setitem(fault_drill.DRILLS, "save", fault_drill.Drill("a fault", broken))
    monkeypatch.setattr(hosts.shutil, "which", lambda name: None)
    monkeypatch.setattr(DrillSite, "undisturbed", lambda site, processes=1: {})
    assert fault_drill.main(["--only", "save", "hosts"]) == 1
    output = capsys.readouterr().out
    assert "NOT KEPT: 3 tensors differ" in output
    assert "skipped: it needs the command ip" in output


@pytest.mark.slow
def test_two_hosts_survive_a_cut_cable() -> None:
    assert fault_drill.main(["--only", "hosts", "--steps", "14"]) == 0
