from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import datasets
import network
from network.checkpoints.weights import published_state_dict
from tests.tools.app.conftest import MAX_BYTES, MAX_PIXELS, free_port
from tools.app import __main__ as app

pytest.importorskip("gradio", reason="the extra `app` brings it")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting(stop: signal.Signals) -> None:
    before = signal.getsignal(stop)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), stop))
    timer.start()
    app.wait()
    timer.join()
    assert signal.getsignal(stop) == before


def test_a_broken_gradio_is_named_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gradio.py").write_text("raise AttributeError('pydantic has no attribute')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    with (pytest.raises(ValueError, match=r"tools\.app needs gradio, which is installed but cannot "
                                          r"be imported \(AttributeError: pydantic has no"),
          app.served([], MAX_PIXELS, MAX_BYTES, free_port())):
        pass


def test_what_was_uploaded_is_deleted_at_the_end(models: Any) -> None:
    with app.served(models, MAX_PIXELS, MAX_BYTES, free_port()):
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        (uploads / "picture.png").write_bytes(b"")
    assert not uploads.exists()
    assert os.environ.get("GRADIO_TEMP_DIR") != str(uploads)


def test_networks_of_other_classes_are_not_compared(
    two_snapshots: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pth"
    names = datasets.spec("cityscapes").names
    torch.save({"arch": "sfnet_dfnetv1", "dataset": "cityscapes", "classes": list(names),
                "state_dict": published_state_dict(network.build("sfnet_dfnetv1", len(names)))},
               other)
    assert app.main(["--snapshot", str(two_snapshots[0]), "--compare", str(other)]) == 2
    assert "but camvid has 11 classes" in capsys.readouterr().err
