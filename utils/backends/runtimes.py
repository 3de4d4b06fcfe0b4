"""The table of backends, from the name of a runtime to what opens a network in it."""
from __future__ import annotations

import glob
import hashlib
import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor, nn

from utils import files
from utils.backends import openvino_files
from utils.backends.formats import FORMATS, ONNX_PACKAGES, Request, open_onnx
from utils.backends.graph import ExportModule, Metadata, Run, trace
from utils.errors import in_a_line
from utils.packages import require_package
from utils.precision import ON_THE_CPU, PrecisionOptions

log = logging.getLogger(__name__)

TORCH, AUTO = "torch", "auto"
# what `AUTO` takes on a CPU where it is installed
PREFERRED = "openvino"
# sizes of images for which a network stays open
MOST_OPEN = 8


class Backend(NamedTuple):
    """A row of the table of backends.

    Attributes:
        format: of `FORMATS`, the files that it runs.
        package, extra: the package, and the extra of setup.cfg that brings it.
        precisions: in which it computes float32 files.
        open: as `Format.open`, in a precision.
    """

    format: str
    package: str
    extra: str
    precisions: tuple[str, ...]
    open: Callable[[Path, str], tuple[Run, Metadata]]

    def require(self, needed_by: str, device: torch.device, precision: str) -> None:
        """Raises ValueError if the package is missing or broken, or it cannot run on the device or
        in the precision; `needed_by` names the flag or the file.
        """
        require_package(self.package, needed_by=needed_by, extra=self.extra)
        if device.type != "cpu":
            raise ValueError(f"{needed_by} runs on the CPU, but this runs on {device.type}: "
                             f"{ON_THE_CPU}")
        if precision not in self.precisions:
            raise ValueError(f"{needed_by} computes in {' or '.join(self.precisions)}, not in "
                             f"{precision}: choose another --precision")

    def version(self) -> str:
        """Returns the version of the package without its build, such as 2026.4.1."""
        return str(import_module(self.package).__version__).split("-")[0]


# None: the predictor runs the network itself
BACKENDS: dict[str, Backend | None] = {
    TORCH: None,
    "onnxruntime": Backend("onnx", "onnxruntime", "export", ("fp32",),
                           lambda path, precision: open_onnx(path)),
    "openvino": Backend("openvino", "openvino", "openvino", tuple(openvino_files.PRECISIONS),
                        openvino_files.open_model),
}


def add_flags(parser: ArgumentParser, *, automatic: bool) -> None:
    """Declares `--backend`.

    Args:
        automatic: whether the program chooses a backend by default. An evaluation must not: its
            scores would depend on the installed packages.
    """
    names, default = [*BACKENDS], TORCH
    rule = "a file of tools.export is run by its own"
    if automatic:
        names, default = [AUTO, *names], AUTO
        rule = (f"auto: {PREFERRED} on a CPU for the sizes of images for which --backend "
                f"{PREFERRED} has converted the network, if it computes what torch computes, else "
                f"torch; {rule}")
    parser.add_argument_group("Backend").add_argument(
        "--backend", choices=names, default=default,
        help=f"what runs the network ({rule})" if automatic else
             f"what runs the network; {rule}, which must be named")


@dataclass(frozen=True)
class BackendOptions:
    """What runs the network: `AUTO` or a name of `BACKENDS`."""

    name: str = TORCH

    @classmethod
    def from_args(cls, args: Namespace) -> BackendOptions:
        """Reads the flag of `add_flags`."""
        return cls(args.backend)

    def resolve(self, precision: PrecisionOptions) -> str:
        """Returns the backend: torch for `AUTO` with a flag that is torch's.

        Raises:
            ValueError: another backend is asked for with such a flag.
        """
        flag = "--compile" if precision.compile else "--exact" if precision.exact else None
        if flag is None or self.name == TORCH:
            return self.name
        if self.name != AUTO:
            raise ValueError(f"{flag} is for torch: leave it out, or --backend {self.name}")
        return TORCH


def suited(precision: PrecisionOptions, name: str) -> PrecisionOptions:
    """Returns the options with the only precision of a backend, unless they name another one."""
    backend = BACKENDS.get(name)
    if backend is None or precision.precision is not None or len(backend.precisions) > 1:
        return precision
    return replace(precision, precision=backend.precisions[0])


class Runtime(NamedTuple):
    """A network, opened in a backend.

    Attributes:
        name: of `BACKENDS`.
        version: of the runtime.
        run: normalized images (N, 3, H, W) float32 on the CPU -> logits (N, K, h, w) float32;
            None for a size that the runtime leaves to torch.
        replaceable: torch takes over if it computes something else than the network; otherwise
            that is an error.
        verified: the file was compared with the network when it was made.
        returns_labels: `run` returns train ids (N, H, W) in place of logits.
    """

    name: str
    version: str
    run: Callable[[Tensor], Tensor | None]
    replaceable: bool = False
    verified: bool = False
    returns_labels: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def build(name: str, net: nn.Module, mean: Sequence[float], std: Sequence[float], *,
          arch: str, device: torch.device, precision: str,
          can_convert: bool = True) -> Runtime | None:
    """Opens a network in a backend; returns None for torch.

    Args:
        name: of `BACKENDS`, or `AUTO`, which is torch where `PREFERRED` cannot run.
        net: prepared for inference.
        arch: names the network in errors and files.
        can_convert: see `ConvertedNetwork`.

    Raises:
        ValueError: a package is missing or broken, or the backend does not run on the device or in
            the precision.
    """
    if name == TORCH:
        return None
    if name == AUTO:
        return _build_preferred(net, mean, std, arch=arch, device=device, precision=precision)
    backend = BACKENDS[name]
    assert backend is not None
    backend.require(f"--backend {name}", device, precision)
    FORMATS[backend.format].require(f"--backend {name}")
    module = ExportModule(net, mean, std, "normalized", "coarse")
    network = ConvertedNetwork(module, name, arch, precision, can_convert)
    return Runtime(name, backend.version(), network)


def _build_preferred(net: nn.Module, mean: Sequence[float], std: Sequence[float], *, arch: str,
                     device: torch.device, precision: str) -> Runtime | None:
    """Opens a network in `PREFERRED`; returns None, and logs why, if it cannot run."""
    if device.type != "cpu":
        log.info("backend %s: this runs on %s", TORCH, device.type)
        return None
    try:
        runtime = build(PREFERRED, net, mean, std, arch=arch, device=device, precision=precision,
                        can_convert=False)
    except ValueError as error:
        log.info("backend %s, because %s", TORCH, error)
        return None
    assert runtime is not None and isinstance(runtime.run, ConvertedNetwork)
    if not runtime.run.is_kept():
        # some seconds for each size of images, which a few images do not win back
        log.info("backend %s: %s is not converted for %s yet; --backend %s converts it for the "
                 "sizes of your images, and is then the default for them", TORCH, arch, PREFERRED,
                 PREFERRED)
        return None
    log.info("backend %s: %s is converted for it, and this runs on a CPU; images of other sizes "
             "run in torch, and --backend %s runs all in torch", runtime, arch, TORCH)
    return runtime._replace(replaceable=True)


class ConvertedNetwork:
    """A network that a backend runs, converted when the first images of a size come.

    Each size has a file of its own: tracing a network for any size takes minutes where the padding
    depends on the size, as in EfficientNet. The files are kept in the user's cache folder.

    Args:
        module: returns logits at the head's stride.
        name: of `BACKENDS`.
        arch: names the network in errors and files.
        can_convert: False runs only in sizes that an earlier program converted.
    """

    def __init__(self, module: ExportModule, name: str, arch: str, precision: str,
                 can_convert: bool) -> None:
        backend = BACKENDS[name]
        assert backend is not None
        self.module = module
        self.name, self.backend, self.format = name, backend, FORMATS[backend.format]
        self.arch = arch
        self.precision = precision
        self.can_convert = can_convert
        self.folder = files.cache_folder() / "backends"
        self.stem = f"{arch.replace(':', '_')}_{_fingerprint(module.net, backend.package)[:16]}"
        self.opened: dict[tuple[int, int], Run | None] = {}
        self.lock = Lock()

    def __call__(self, images: Tensor) -> Tensor | None:
        """Returns the logits; None if the size is not converted, or cannot be opened, and
        `can_convert` is False.

        Raises:
            ValueError: the network cannot be converted, or its file is damaged.
        """
        size = (images.shape[-2], images.shape[-1])
        # several threads predict windows
        with self.lock:
            if size not in self.opened:
                if len(self.opened) >= MOST_OPEN:
                    del self.opened[next(iter(self.opened))]
                self.opened[size] = self._open_if_possible(size)
            run = self.opened[size]
        return run(images) if run else None

    def is_kept(self) -> bool:
        """Returns whether an earlier program has converted the network for some size."""
        return any(self.folder.glob(f"{glob.escape(self.stem)}_*{self.format.suffix}"))

    def _open_if_possible(self, size: tuple[int, int]) -> Run | None:
        if self.can_convert:
            return self._open(size)
        if not self._has_file(size):
            return None
        try:
            return self._open(size)
        except ValueError as error:
            log.warning("%s; backend %s runs in its place", error, TORCH)
            return None

    def _open(self, size: tuple[int, int]) -> Run:
        with self._converted(size) as path:
            try:
                return self.backend.open(path, self.precision)[0]
            except Exception as error:
                # the errors of the runtimes have no common base class
                raise ValueError(f"--backend {self.name} cannot open {path} "
                                 f"({in_a_line(error, whole=False)}): delete it, and the next "
                                 "program converts the network again") from error

    @contextmanager
    def _converted(self, size: tuple[int, int]) -> Iterator[Path]:
        """Yields the file for a size, which is removed after the context if it cannot be kept."""
        kept, form = self._file(size), self.format
        if self._has_file(size):
            yield kept
            return
        log.info("%s is converted for %s and images of %dx%d, once", self.arch, form.runtime, *size)
        with torch.inference_mode(False):
            program = trace(self.module, size, (0,), self.arch)
        with TemporaryDirectory() as folder:
            path = Path(folder) / kept.name
            form.write(Request(self.module, program, {}), path)
            try:
                form.copy(path, kept)
            except OSError as error:
                log.warning("%s cannot be written (%s), so the next program has to convert the "
                            "network again: set XDG_CACHE_HOME to a writable folder", self.folder,
                            error.strerror)
            yield path

    def _file(self, size: tuple[int, int]) -> Path:
        return self.folder / f"{self.stem}_{size[0]}x{size[1]}{self.format.suffix}"

    def _has_file(self, size: tuple[int, int]) -> bool:
        return all(path.is_file() for path in self.format.files(self._file(size)))


def _fingerprint(net: nn.Module, package: str) -> str:
    """Returns a checksum of all that a converted file depends on: weights, code and versions.

    Args:
        package: of the backend. Each of them runs, or is made of, an ONNX file.
    """
    versions = [import_module(name).__version__ for name in ("torch", *ONNX_PACKAGES, package)]
    digest = hashlib.sha256(f"{versions} {net}".encode())
    for name, tensor in net.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    for folder in ("network", "utils/backends"):
        for path in sorted((files.ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
