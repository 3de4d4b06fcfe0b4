from __future__ import annotations

import pytest

from tools.maintainer.fault_drill import __main__ as fault_drill


@pytest.mark.slow
def test_a_run_survives_a_damaged_checkpoint_and_a_full_disk() -> None:
    assert fault_drill.main(["--only", "truncated", "full", "--steps", "14"]) == 0
