"""A snapshot, and OpenVINO files of a tiny network."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.openvino_here import TinyNetwork, need_openvino
from tests.tools.conftest import snapshot, two_snapshots  # noqa: F401
from tests.tools.export.conftest import MEAN, SPEC, STD, run  # noqa: F401
from utils.backends.formats import FORMATS, Request
from utils.backends.graph import ExportModule, trace

# metadata of the files
FACTS = {"arch": "tiny", "weights": "raw", "dataset": "camvid", "classes": list(SPEC.names),
         "mean": list(MEAN), "std": list(STD), "input": "normalized", "output": "coarse",
         "size": [64, 96], "dynamic": True, "temperature": 2.0, "license": None}


def write(path: Path, module: ExportModule, **facts: object) -> Path:
    """Writes an OpenVINO file with `FACTS`, but for `facts`; skips the test without OpenVINO."""
    need_openvino()
    stored = {**FACTS, **facts}
    program = trace(module, (64, 96), (0, 2, 3) if stored["dynamic"] else (), "tiny")
    texts = {name: json.dumps(value) for name, value in stored.items()}
    FORMATS["openvino"].write(Request(module, program, texts), path)
    return path


@pytest.fixture(scope="session")
def module() -> ExportModule:
    """A tiny network of CamVid's classes that returns coarse logits."""
    return ExportModule(TinyNetwork(SPEC.num_classes), MEAN, STD, "normalized", "coarse")


@pytest.fixture(scope="session")
def any_size(module: ExportModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OpenVINO file of it for images of any size."""
    return write(tmp_path_factory.mktemp("openvino") / "net.xml", module)


@pytest.fixture(scope="session")
def any_size_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OpenVINO file that returns the labels of images of any size."""
    module = ExportModule(TinyNetwork(SPEC.num_classes), MEAN, STD, "normalized", "labels")
    return write(tmp_path_factory.mktemp("openvino") / "labels.xml", module, output="labels")


@pytest.fixture(scope="session")
def one_size(module: ExportModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OpenVINO file of it for one image of 64x96."""
    return write(tmp_path_factory.mktemp("openvino") / "fixed.xml", module, dynamic=False)
