"""The page shows what was measured, and names what was not."""
from __future__ import annotations

from typing import Any

from tools.benchmark.machine.page import page

TRAINED = {"run": "cityscapes_x", "arch": "x", "arithmetic": "bf16", "images": 8,
           "crop": [1024, 1024], "seconds": 0.2, "images_per_second": 40.0, "peak_memory": 9.5e9}
PREDICTED = {"run": "cityscapes_x", "arch": "x", "network": "x", "batch": 8, "setting": "bf16",
             "precision": "bf16", "operations": 5e11, "images_per_second": 100.0, "p50_ms": 80.0,
             "p99_ms": 88.0, "times_plain": 5.5, "equal_labels": 0.987}


def result_of(**parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"command": "python -m tools.benchmark machine", "commit": "c0ffee",
            "started": "2026-01-01",
            "parts": {name: {"seconds": 1.5, "rows": rows} for name, rows in parts.items()}}


def test_every_section_has_its_numbers() -> None:
    text = page(result_of(
        machine=[{"device": "A GPU", "gpu_memory": 8}],
        rates=[{"measure": "product", "side": 64, "arithmetic": "bf16", "per_second": 2e14},
               {"measure": "copy", "bytes": 10, "per_second": 2.5e12}],
        training=[TRAINED], memory=[{"run": "cityscapes_x", "arithmetic": "bf16", "images": 8,
                                     "peak_memory": 9.0e9}],
        recipes=[{"run": "cityscapes_x", "arch": "x", "operations": 100,
                  "images": 40 * 3600 * 10, "crop": [1024, 1024]}],
        inference=[PREDICTED, {**PREDICTED, "p50_ms": 1.0}],
        stages=[{"run": "cityscapes_x", "arch": "x", "arithmetic": "bf16", "stage": "warp",
                 "seconds": 0.004, "limit": 0.001}],
        agreement=[{"run": "cityscapes_x", "arithmetic": "bf16", "loss": 1e-3, "gradient": 2e-2}],
        loading=[{"source": "pack", "workers": 4, "images_per_second": 150.0}]))
    assert "`python -m tools.benchmark machine` in 14 s, commit c0ffee, 2026-01-01." in text
    assert "- gpu memory: 8" in text
    assert "| product of 64x64, bf16 | 200.00 TFLOP/s |" in text
    assert "| copy | 2500.0 GB/s |" in text
    assert "| `cityscapes_x` | bf16 | 8 | 1024x1024 | 40.0 | 200 | 9.50 | 9.00 |" in text
    # ten hours at 40 images a second, and an eighth of them
    assert "| `cityscapes_x` | 10.0 | 1.2 |" in text
    # 100 images of 5e11 operations are 5e13 a second, a quarter of 2e14; the first row counts
    assert "| `x` | 8 | bf16 | 80.00 | 88.00 | 100.0 | 5.50 | 25% | 98.70% |" in text
    assert "1.00 | 88.00" not in text
    assert "| `x` | bf16 | warp | 4.00 | 1.00 | 25% |" in text
    assert "| `cityscapes_x` | bf16 | 1.0e-03 | 2.0e-02 |" in text
    assert "The fastest training above takes 40.0 images" in text
    assert "| pack | 4 | 150.0 |" in text
    assert "Not measured" not in text


def test_what_was_not_measured_is_named_and_left_out_of_the_tables() -> None:
    text = page(result_of(
        training=[{"run": "cityscapes_x", "arithmetic": "fp16", "error": "ValueError: no fp16"}],
        inference=[PREDICTED, {"error": "stopped after 50 s"}]))
    assert "## Training" not in text and "## Rates" not in text
    assert "- training cityscapes_x, fp16: ValueError: no fp16\n" in text
    assert "- inference: stopped after 50 s\n" in text
    # without the rate of products there is no share of it
    assert "| 5.50 | - | 98.70% |" in text
