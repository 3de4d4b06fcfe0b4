"""Whether ONNX files can be written here."""
from __future__ import annotations

import pytest

from tools.export.formats import FORMATS


def need_onnx() -> None:
    """Skips the test, or the module that calls it, with the export's own reason where it would refuse."""
    try:
        FORMATS["onnx"].require()
    except ValueError as error:
        pytest.skip(str(error), allow_module_level=True)
