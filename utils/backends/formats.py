"""The file formats of an export, and the runtimes that read them back."""
from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from utils.backends import openvino_files
from utils.backends.gathers import without_grid_sample
from utils.backends.graph import ExportModule, Metadata, Run
from utils.errors import in_a_line
from utils.files import write_bytes
from utils.packages import require_package
from utils.precision import require_compiler

INPUT = "images"
# of the input, as an ONNX file names those that are open
AXES = ("batch", "channels", "height", "width")
OPSETS = (16, 17, 18)
# the packages that write and run ONNX files
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
# older versions fail on open sizes and on opsets below 18
TORCH_FOR_ONNX = (2, 9)
# the entry of a torch.export file that holds the metadata
METADATA = "metadata.json"


class Request(NamedTuple):
    """What a file is written from.

    Attributes:
        module: the network with its input and output conversions.
        program: the traced module.
        metadata: entries of the file, as JSON.
        opset: operator set version of ONNX.
        half: store the weights in float16, which OpenVINO's files can.
        quantize: quantizes the ONNX file that was written in place; for OpenVINO, returns an
            `openvino.Model` of it. None for float32.
    """

    module: ExportModule
    program: ExportedProgram
    metadata: Metadata
    opset: int = OPSETS[-1]
    half: bool = False
    quantize: Callable[[Path], Any] | None = None


class Format(NamedTuple):
    """A row of the table of formats.

    Attributes:
        suffix: of the file's name.
        runtime: its name in messages.
        require: raises ValueError if a package or a compiler is missing, which its argument, a flag
            with its value, needs.
        write: writes a request to a path.
        open: returns a function from images to the module's output, and the metadata.
        companion: suffix of a second file that is written beside the first; "" for none.
    """

    suffix: str
    runtime: str
    require: Callable[[str], None]
    write: Callable[[Request, Path], None]
    open: Callable[[Path], tuple[Run, Metadata]]
    companion: str = ""

    def files(self, path: Path) -> list[Path]:
        """Returns the files that belong to a path, itself last."""
        companions = [path.with_suffix(self.companion)] if self.companion else []
        return [*companions, path]

    def copy(self, path: Path, target: Path) -> None:
        """Copies the files; each appears whole, that of `target` last. Raises OSError."""
        target.parent.mkdir(parents=True, exist_ok=True)
        for source, copy in zip(self.files(path), self.files(target), strict=True):
            write_bytes(copy, source.read_bytes())


def _torch_version() -> tuple[int, ...]:
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def _require_onnx(needed_by: str) -> None:
    for package in ONNX_PACKAGES:
        require_package(package, needed_by=needed_by, extra="export")
    if _torch_version() < TORCH_FOR_ONNX:
        needed = ".".join(map(str, TORCH_FOR_ONNX))
        raise ValueError(f"{needed_by} needs torch {needed} or newer, and this is "
                         f"{torch.__version__}: upgrade it, or give --format pt2 or --backend "
                         "torch")


def _write_onnx(request: Request, path: Path) -> None:
    import onnx
    import onnxscript

    # both log a line for each node that they rewrite
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        onnx_program: Any = torch.onnx.export(request.program, (), dynamo=True,
                                              opset_version=request.opset, input_names=[INPUT],
                                              output_names=[request.module.output], verbose=False)
    except Exception as error:
        # the passes of the exporter raise errors of many types
        raise ValueError(
            f"torch {torch.__version__} with onnxscript {onnxscript.__version__} cannot write this "
            f"network as ONNX ({in_a_line(error.__cause__ or error, whole=False)}): try a newer "
            "torch, a fixed size, --opset 18 or --format pt2") from error
    model = onnx_program.model_proto
    written = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if written != request.opset:
        possible = written if written in OPSETS else OPSETS[-1]
        raise ValueError(f"torch {torch.__version__} wrote opset {written} and could not convert "
                         f"it to --opset {request.opset}: choose --opset {possible}")
    _name_axes(model.graph)
    onnx.helper.set_model_props(model, dict(request.metadata))
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))
    if request.quantize is not None:
        request.quantize(path)


def _name_axes(graph: Any) -> None:
    """Names the open axes of the input in all shapes of an ONNX graph; torch calls them `s34`."""
    axes = graph.input[0].type.tensor_type.shape.dim
    names = {dim.dim_param: name for dim, name in zip(axes, AXES, strict=True) if dim.dim_param}
    for value in (*graph.input, *graph.value_info, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                # also in expressions, such as `2*s34`
                dim.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]),
                                       dim.dim_param)


def _write_onnx_gather(request: Request, path: Path) -> None:
    _write_onnx(request._replace(program=without_grid_sample(request.program)), path)


def open_onnx(path: Path) -> tuple[Run, Metadata]:
    """Opens an ONNX file on the CPU, with as many threads as torch has; see `Format.open`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {INPUT: images.contiguous().numpy()})[0])

    return run, session.get_modelmeta().custom_metadata_map


def _require_openvino(needed_by: str) -> None:
    # an .xml file is written from ONNX
    openvino_files.require(needed_by)
    _require_onnx(needed_by)


def _write_openvino(request: Request, path: Path) -> None:
    with TemporaryDirectory() as folder:
        onnx = Path(folder) / "net.onnx"
        _write_onnx(request._replace(metadata={}, quantize=None), onnx)
        model = (request.quantize or openvino_files.read_onnx)(onnx)
        openvino_files.save(model, path, request.metadata, half=request.half)


def _write_pt2(request: Request, path: Path) -> None:
    torch.export.save(request.program, path,
                      extra_files={METADATA: json.dumps(dict(request.metadata))})


def _open_pt2(path: Path) -> tuple[Run, Metadata]:
    extra = {METADATA: ""}
    loaded = torch.export.load(path, extra_files=extra).module()
    return lambda images: loaded(images), json.loads(extra[METADATA])


def _write_aoti(request: Request, path: Path) -> None:
    torch._inductor.aoti_compile_and_package(
        request.program, package_path=str(path),
        inductor_configs={"aot_inductor.metadata": dict(request.metadata)})


def _open_aoti(path: Path) -> tuple[Run, Metadata]:
    package: Any = torch._inductor.aoti_load_package(str(path))
    return lambda images: package(images), package.get_metadata()


FORMATS = {
    "onnx": Format(".onnx", "onnxruntime", _require_onnx, _write_onnx, open_onnx),
    "onnx-gather": Format(".onnx", "onnxruntime", _require_onnx, _write_onnx_gather, open_onnx),
    "openvino": Format(".xml", "OpenVINO", _require_openvino, _write_openvino,
                       openvino_files.open_model, companion=".bin"),
    "pt2": Format(".pt2", "torch.export's loader", lambda needed_by: None, _write_pt2, _open_pt2),
    "aoti": Format(".pt2", "AOTInductor's loader", require_compiler, _write_aoti,
                   _open_aoti),
}
