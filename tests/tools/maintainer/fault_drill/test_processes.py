from __future__ import annotations

import pytest

from tools.maintainer.fault_drill import __main__ as fault_drill


@pytest.mark.slow
def test_two_processes_survive_a_kill_and_end_together_after_an_error() -> None:
    assert fault_drill.main(["--only", "worker", "raises", "--steps", "14"]) == 0


@pytest.mark.slow
def test_two_processes_survive_a_death_in_a_save_and_a_failed_all_reduce() -> None:
    assert fault_drill.main(["--only", "worker_save", "all_reduce", "--steps", "14"]) == 0
