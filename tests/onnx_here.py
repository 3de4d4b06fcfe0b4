"""Whether ONNX files can be written here."""
from __future__ import annotations

import pytest

from utils.backends.formats import FORMATS


def need_onnx() -> None:
    """Skips the test, or the module that calls it, where the export would be refused."""
    try:
        FORMATS["onnx"].require("--format onnx")
    except ValueError as error:
        pytest.skip(str(error), allow_module_level=True)
