"""Signals wait for a check."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from utils.training import signals
from utils.training.signals import Interrupted, Interrupts


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_check(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as stopped:
            interrupts.check()
    assert stopped.value.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once() -> None:
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_stops_a_run_as_sigterm_does_but_not_under_nohup() -> None:
    # the tests themselves may run under nohup
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Interrupted) as stopped:
                interrupts.check()
        assert stopped.value.exit_code == 129
        # what nohup does
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            interrupts.check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_operating_system_without_some_signals_watches_the_others() -> None:
    program = (
        "import signal, sys; del signal.SIGUSR1, signal.SIGHUP; sys.modules['resource'] = None\n"
        "import train; from utils.training import signals\n"
        "print(*(number.name for number in signals.WATCHED))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=Path(__file__).parents[3], check=True)
    assert done.stdout.split() == ["SIGINT", "SIGTERM"]


def test_a_ctrl_c_that_torchrun_passes_on_is_the_same_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            interrupts.check()
        monkeypatch.setattr(signals, "SAME_SIGNAL_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
