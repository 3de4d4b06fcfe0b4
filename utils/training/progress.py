"""How far a run has come, as its checkpoints hold it."""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


class NotFinite(ValueError):
    """A loss or a gradient is not finite. `step` is the step that produced it, counted from 1."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


@dataclass
class Progress:
    """How far a run has come.

    Args:
        step: steps done.
        validated: the step of the last validation.
        mean_iu: score of the last validation, in [0, 1]: the mIoU, or the top-1 accuracy of a
            classifier; None if no pixel had a label.
        best: the best score so far.
        skipped_steps: steps left out after a rewind, counted from 1.
        metrics: the text of `metrics.jsonl` so far; None in a checkpoint of version 0.2.0 or
            earlier, which did not keep it.
    """

    step: int = 0
    validated: int = 0
    mean_iu: float | None = None
    best: float | None = None
    skipped_steps: list[int] = field(default_factory=list)
    metrics: str | None = ""

    def record_validation(self, mean_iu: float) -> None:
        """Records the score of this step; NaN, which is better than no other score, as None."""
        self.mean_iu, self.validated = finite(mean_iu), self.step

    def update_best(self) -> bool:
        """Returns whether this step was validated with the best mIoU so far, and remembers it."""
        if self.validated != self.step or self.mean_iu is None:
            return False
        if self.best is not None and self.mean_iu <= self.best:
            return False
        self.best = self.mean_iu
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "validated": self.validated, "mean_iu": self.mean_iu,
                "best": self.best, "left_out": self.skipped_steps,
                "metrics": self.metrics}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Reads the progress from a checkpoint."""
        return cls(step=state["step"], validated=state["validated"],
                   mean_iu=finite(state["mean_iu"]), best=finite(state["best"]),
                   skipped_steps=state["left_out"], metrics=state.get("metrics"))


def finite(score: float | None) -> float | None:
    """Returns the score, or None if it is NaN: earlier versions stored an undefined mIoU so."""
    return None if score is None or math.isnan(score) else score
