"""A run, and stand-ins of the tracking libraries that record what they are called with."""
from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from utils.training.tracking.tracker import RunInfo

IMAGE = np.zeros((4, 6, 3), np.uint8)


class Recorder:
    """Answers any method call with None and remembers it, as (name, arguments)."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[str, tuple, dict]] = []
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            return self.answers.get(name)
        return call

    def named(self, name: str) -> list[tuple[tuple, dict]]:
        return [(args, kwargs) for called, args, kwargs in self.calls if called == name]


@pytest.fixture
def run(tmp_path: Path) -> RunInfo:
    return RunInfo("first", tmp_path / "logs/first", {"lr": 0.1, "scales": (1, 2), "cv": None},
                   "0123456789abcdef")


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> SimpleNamespace:
    """Installs a module of this name with these members."""
    module = ModuleType(name)
    # what importlib.util.find_spec returns
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)
    return SimpleNamespace(**members)
