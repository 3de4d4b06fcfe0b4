"""Latency of predictions: networks and settings of the predictor, against the plain network."""
from __future__ import annotations

import ctypes
import gc
import json
import multiprocessing
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import datasets
import network
from eval import load_predictor
from network import fuse_for_inference
from network.model import SceneParser
from tools.benchmark import exported
from utils import precision
from utils.backends import runtimes
from utils.backends.graph import Difference, ExportModule, compare
from utils.batches import normalize
from utils.cli import FlagParser, add_switch, positive_int, size
from utils.evaluation.predictor import Predictor
from utils.files import write_text
from utils.machine import clock, host_memory, peak_memory, reset_peak
from utils.training import run_folder

PLAIN = "plain"
PRECISIONS = {**precision.PRECISIONS, "tf32": torch.float32}
RUNTIMES = tuple(name for name in runtimes.BACKENDS if name != runtimes.TORCH)
WORDS = ("compile", "graphs", *RUNTIMES)
# settings that keep the network's arithmetic
EXACT = ("fp32", "fp32+compile")
DEFAULT_SETTINGS = {
    "cpu": (*EXACT, "bf16", "bf16+compile"),
    "cuda": (
        *EXACT, "fp32+graphs", "tf32", "tf32+compile", "bf16", "bf16+compile", "bf16+graphs",
        "fp16", "fp16+compile", "fp16+graphs",
    ),
}
# classes and normalization of networks without a snapshot
RANDOM_SPEC = "cityscapes"
INSIDE = "network, resizing to the image, arg max"

# images (N, 3, H, W) -> label maps (N, H, W)
Labels = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """One way to run a network.

    `plain` is the network as it is: eager, float32, NCHW, with full-size logits and arg max. Each
    other setting folds normalization, uses channels last and computes labels from the logits at
    the head's stride. Float32 factors are rounded to TF32 in `tf32` only. `onnx:FILE`
    and `openvino:FILE` are exported files; a name of `RUNTIMES` runs the network in that runtime.
    """

    name: str

    @property
    def arithmetic(self) -> str:
        return "fp32" if self.name == PLAIN else self.name.split("+")[0]

    def has(self, word: str) -> bool:
        return word in self.name.split("+")[1:]

    @property
    def runtime(self) -> str | None:
        """The runtime of `RUNTIMES`, None for torch."""
        return next((name for name in RUNTIMES if self.has(name)), None)

    def facts(self) -> dict[str, Any]:
        """Returns the columns of a row that depend on the setting alone."""
        is_file = exported.split(self.name) is not None
        optimized, in_torch = self.name != PLAIN, not is_file and self.runtime is None
        return {"precision": "the file's" if is_file else self.arithmetic,
                "normalization_folded": optimized, "channels_last": optimized and in_torch,
                "compiled": self.has("compile"), "cuda_graphs": self.has("graphs")}

    def configure(self) -> None:
        """Sets the options of the whole process; called before each prediction of the setting."""
        precision.configure(tf32=self.arithmetic == "tf32", deterministic=False)

    def build(self, subject: Subject, device: torch.device, host_copies: bool) -> Labels:
        """Returns the function that is timed.

        Args:
            host_copies: whether it takes uint8 RGB on the host and returns labels there, or takes
                normalized images on the device.

        Raises:
            ValueError: the device or the machine cannot run it.
        """
        if self.name == PLAIN:
            run = self._plain(subject, device, host_copies)
        elif file := exported.split(self.name):
            run = exported.labels(*file, subject.name, host_copies)
        else:
            run = self._predictor(subject, device, host_copies)
        return torch.inference_mode()(run)

    def _plain(self, subject: Subject, device: torch.device, host_copies: bool) -> Labels:
        net = subject.net.to(device).eval()

        def predict(images: Tensor) -> Tensor:
            return net(images)["main"].argmax(1)

        def predict_from_host(images: Tensor) -> Tensor:
            return predict(normalize(images.to(device), subject.mean, subject.std)).cpu()

        return predict_from_host if host_copies else predict

    def _predictor(self, subject: Subject, device: torch.device, host_copies: bool) -> Labels:
        if self.arithmetic == "tf32" and device.type != "cuda":
            raise ValueError(f"tf32 is a GPU's, but this runs on {device.type}: give fp32 or bf16")
        name = "fp32" if self.arithmetic == "tf32" else self.arithmetic
        name = precision.resolve_precision(name, device)
        net = fuse_for_inference(subject.net)
        runtime = None
        if self.runtime is not None:
            runtime = runtimes.build(self.runtime, net, subject.mean, subject.std,
                                     arch=subject.name, device=device, precision=name)
            # `compare_labels` measures the difference; a large one must not end the measurements
            runtime = runtime and runtime._replace(verified=True)
        elif device.type == "cuda":
            # as `eval.load_predictor` does
            precision.round_weights(net, name)
        predictor = Predictor(net, device, name, subject.mean, subject.std, channels_last=True,
                              compiled=self.has("compile"), graphs=self.has("graphs"),
                              runtime=runtime)
        if host_copies:
            return lambda images: predictor.labels(images).cpu()
        return predictor.labels_of_normalized


@dataclass(frozen=True)
class Subject:
    """A network to measure, with the mean and standard deviation of its images."""

    name: str
    net: SceneParser
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """The measurements of one setting of one network.

    Attributes:
        largest_gap: largest difference between the plain network's largest logit and its logit of
            the setting's label, as a fraction of the largest logit. It tells ties from errors.
        memory: bytes that a prediction adds at its peak.
        process: bytes of the process at that peak.
    """

    network: str
    setting: str
    p50_ms: float
    p90_ms: float
    p99_ms: float
    images_per_second: float
    times_plain: float
    equal_labels: float
    largest_gap: float
    memory: int | None
    process: int | None
    precision: str
    normalization_folded: bool
    channels_last: bool
    compiled: bool
    cuda_graphs: bool


@dataclass
class Timing:
    """A setting of a network, and the seconds of its predictions."""

    subject: Subject
    setting: Setting
    labels: Labels
    batches: Sequence[Tensor]
    seconds: list[float] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def predict(self, turn: int) -> Tensor:
        self.setting.configure()
        return self.labels(self.batches[turn % len(self.batches)])

    def take(self, turn: int, device: torch.device, seconds: Callable[[], float]) -> None:
        """Predicts once, and notes the time, the difference of two calls of `seconds`."""
        self.setting.configure()
        synchronize(device)
        start = seconds()
        self.labels(self.batches[turn % len(self.batches)])
        synchronize(device)
        self.seconds.append(seconds() - start)

    def row(self, batch: int, plain: float, memory: int | None, process: int | None) -> Row:
        """Returns the measurements; `plain` is the median time of the plain network in seconds."""
        p50, p90, p99 = (1000 * float(np.percentile(self.seconds, q)) for q in (50, 90, 99))
        equal_labels = float(np.mean([difference.equal for difference in self.differences]))
        largest_gap = max(difference.largest for difference in self.differences)
        return Row(self.subject.name, self.setting.name, p50, p90, p99,
                   images_per_second=1000 * batch / p50, times_plain=1000 * plain / p50,
                   equal_labels=equal_labels, largest_gap=largest_gap, memory=memory,
                   process=process, **self.setting.facts())


def parse_setting(text: str) -> Setting:
    """Reads `--settings`. Raises ArgumentTypeError if the setting is unknown."""
    if exported.split(text) is not None:
        return Setting(text)
    first, *words = text.split("+")
    if text != PLAIN and (first not in PRECISIONS or any(word not in WORDS for word in words)):
        raise ArgumentTypeError(f"{text!r} is not a setting: give {PLAIN}, or "
                                f"{', '.join(PRECISIONS)} with or without +{' +'.join(WORDS)}, "
                                "such as bf16+compile")
    return Setting(text)


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--arch", nargs="+", default=["sfnet_resnet18", "sfnet_dfnetv1"],
                        metavar="NAME", help="networks with random weights")
    parser.add_argument("--snapshot", nargs="+", type=Path, default=[], metavar="FILE",
                        help="trained networks, in place of --arch")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--settings", nargs="+", type=parse_setting, metavar="SETTING",
                        help=f"{PLAIN} (the unit, always measured), {'|'.join(PRECISIONS)}"
                             f"[+compile][+graphs][{'|'.join('+' + name for name in RUNTIMES)}], "
                             f"and {'FILE or '.join(exported.PREFIXES)}FILE, an exported file, on "
                             "the CPU; by default those that suit the device")
    parser.add_argument("--backend", nargs="+", choices=[*runtimes.BACKENDS], metavar="NAME",
                        help="of the settings that are measured without --settings: any of "
                             f"{', '.join(runtimes.BACKENDS)}; the default is torch alone")
    choice.add_argument("--exact", action="store_true",
                        help="only settings that keep the network's arithmetic: --settings "
                             f"{' '.join(EXACT)}")
    parser.add_argument("--size", type=size, default=(1024, 2048),
                        help="HEIGHTxWIDTH of the images in pixels")
    parser.add_argument("--batch", type=positive_int, default=1, help="images in a batch")
    parser.add_argument("--rounds", type=positive_int, default=10,
                        help="timed predictions of each setting")
    parser.add_argument("--warm_up", type=positive_int, default=2,
                        help="predictions of each setting before the timed ones")
    parser.add_argument("--pictures", nargs="+", type=Path, default=[], metavar="FILE",
                        help="images, resized to --size, on which labels are compared; by default "
                             "smooth random colors")
    add_switch(parser, "--host_copies", default=False,
               help="time from bytes in the host's memory to labels there")
    add_switch(parser, "--cpu_time", default=False,
               help="count the time of this process on a CPU, of all its threads, and not the time "
                    "on the clock: for a machine that is busy")
    add_switch(parser, "--memory", default=True,
               help="measure memory as well, each setting in a new process")
    add_switch(parser, "--interleave_networks", default=True,
               help="interleave the networks too, which holds all of them in memory; otherwise "
                    "they are measured one after another")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write protocol and rows to this file")


@dataclass(frozen=True)
class Options:
    """What is measured; the fields are the flags of the same name.

    Args:
        snapshot: trained networks, measured in place of `arch`.
        settings: None for those that suit the device.
        exact: whether only the settings `EXACT` are measured.
        backend: of the default settings; None for torch alone.
        size: (height, width) of the images.
        pictures: images on which labels are compared; random colors if there are none.
    """

    arch: Sequence[str]
    snapshot: Sequence[Path]
    settings: Sequence[Setting] | None
    exact: bool
    backend: Sequence[str] | None
    size: tuple[int, int]
    batch: int
    rounds: int
    warm_up: int
    pictures: Sequence[Path]
    host_copies: bool
    cpu_time: bool
    memory: bool
    interleave_networks: bool
    json: Path | None

    @classmethod
    def from_args(cls, args: Namespace) -> Options:
        """Reads the flags of `add_flags`. Raises ValueError for `--backend` with `--settings`."""
        if args.settings and args.backend:
            raise ValueError("--backend would be ignored with --settings: leave one of them out; a "
                             "setting names its backend itself, such as bf16+openvino")
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    @property
    def networks(self) -> range:
        """The positions of the networks in `snapshot` or else `arch`."""
        return range(len(self.snapshot or self.arch))

    def all_settings(self, device: torch.device) -> list[Setting]:
        """Returns the settings to measure, without duplicates, `PLAIN` first."""
        of_torch = EXACT if self.exact else DEFAULT_SETTINGS.get(device.type, EXACT)
        names = [*of_torch, *self._runtime_settings()]
        if self.backend is not None:
            names = [name for name in names
                     if (Setting(name).runtime or runtimes.TORCH) in self.backend]
        chosen = self.settings or [Setting(name) for name in names]
        return list(dict.fromkeys([Setting(PLAIN), *chosen]))

    def _runtime_settings(self) -> list[str]:
        """Returns the settings of the runtimes that are asked for."""
        if self.backend is None:
            return []
        settings = []
        for name in RUNTIMES:
            backend = runtimes.BACKENDS[name]
            assert backend is not None
            precisions = ("fp32",) if self.exact else backend.precisions
            if name in self.backend:
                settings += [f"{precision}+{name}" for precision in precisions]
        return settings


def run(args: Namespace) -> None:
    """Measures, and prints a table.

    Raises:
        ValueError, OSError: a network or a setting cannot be built, or a file cannot be read.
    """
    options, device = Options.from_args(args), precision.default_device()
    settings = options.all_settings(device)
    protocol = describe(options, device)
    print("\n".join(f"{name:16} {value}" for name, value in protocol.items()), flush=True)
    rows = measure_rows(options, settings, device)
    print(table(rows))
    if options.json:
        result = {"protocol": protocol, "rows": [asdict(row) for row in rows]}
        write_text(options.json, json.dumps(result, indent=2) + "\n")


def measure_rows(options: Options, settings: Sequence[Setting],
                 device: torch.device) -> list[Row]:
    """Measures memory, then time; returns a row for each network and setting."""
    # memory comes first: this process holds no network yet
    memory = iter([measure_memory(options, position, setting)
                   for position in options.networks for setting in settings])
    groups = [[position] for position in options.networks]
    if options.interleave_networks:
        groups = [list(options.networks)]
    rows: list[Row] = []
    for group in groups:
        subjects = [load(options, position) for position in group]
        for timings in measure(options, subjects, settings, device):
            plain = float(np.median(timings[0].seconds))
            rows += [timing.row(options.batch, plain, *next(memory)) for timing in timings]
    return rows


def describe(options: Options, device: torch.device) -> dict[str, Any]:
    """Returns the protocol: the facts that the measurements depend on."""
    facts = run_folder.environment(device, "", [])
    interleaved = "networks and settings" if options.interleave_networks else "settings"
    host_copies = "outside: float images on the device"
    if options.host_copies:
        host_copies = "inside: bytes from the host, labels to it"
    height, width = options.size
    is_cuda = device.type == "cuda"
    return {
        "device": facts["device"], "clock": f"{clock(device)} MHz at the start",
        "threads": facts["threads"], "torch": facts["torch"], "commit": facts["commit"],
        "size": f"{height}x{width}", "batch": options.batch, "warm-up": options.warm_up,
        "rounds": f"{options.rounds}, {interleaved} interleaved",
        "time": "of the process" if options.cpu_time else "on the clock",
        "synchronized": "before and after each prediction" if is_cuda else "a CPU needs none",
        "inside": INSIDE, "host copies": host_copies,
        "normalization": f"folded into convolutions, but for {PLAIN}",
        "float32": f"not rounded to TF32, but for tf32; {PLAIN} is float32"}


def load(options: Options, position: int) -> Subject:
    """Returns the network at a position of `--snapshot` or else `--arch`."""
    if options.snapshot:
        model = load_predictor(options.snapshot[position], device="cpu", precision="fp32",
                               channels_last=False, fuse=False)
        predictor = model.predictor
        return Subject(model.trained.arch, model.net, predictor.mean, predictor.std)
    torch.manual_seed(0)
    spec, arch = datasets.spec(RANDOM_SPEC), options.arch[position]
    net = network.build(arch, spec.num_classes).eval()
    return Subject(arch, net, *net.normalization)


def load_batches(options: Options) -> list[Tensor]:
    """Returns batches (N, 3, H, W) uint8, one for each picture or else one of smooth colors."""
    if not options.pictures:
        colors = torch.rand(options.batch, 3, 5, 9, generator=torch.Generator().manual_seed(0))
        colors = F.interpolate(colors, size=options.size, mode="bicubic").clamp(0, 1)
        return [(colors * 255).to(torch.uint8)]
    height, width = options.size
    batches = []
    for path in options.pictures:
        image = cv2.resize(datasets.read_image(path), (width, height),
                           interpolation=cv2.INTER_LINEAR)
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        batches.append(pixels[None].repeat(options.batch, 1, 1, 1))
    return batches


def timed_input(batch: Tensor, options: Options, subject: Subject, device: torch.device) -> Tensor:
    """Returns the bytes on the host, or normalized images on the device."""
    if options.host_copies:
        return batch
    return normalize(batch.to(device), subject.mean, subject.std)


def measure(options: Options, subjects: Sequence[Subject], settings: Sequence[Setting],
            device: torch.device) -> list[list[Timing]]:
    """Times every setting of every network in interleaved rounds, and compares the labels.

    Returns:
        The settings of each network, the plain one first.
    """
    # torch.compile must not count the networks of an earlier call as recompilations
    torch.compiler.reset()
    batches = load_batches(options)
    by_network = []
    for subject in subjects:
        inputs = [timed_input(batch, options, subject, device) for batch in batches]
        by_network.append([
            Timing(subject, setting, setting.build(subject, device, options.host_copies), inputs)
            for setting in settings])
    timings = [timing for of_network in by_network for timing in of_network]
    seconds = time.process_time if options.cpu_time else time.perf_counter
    # every network compiles the same lines
    with torch._dynamo.config.patch(cache_size_limit=2 * len(timings)):
        for timing in timings:
            for _ in range(options.warm_up):
                timing.predict(0)
        for turn in range(options.rounds):
            for timing in timings:
                timing.take(turn, device, seconds)
        for of_network in by_network:
            compare_labels(of_network, options.host_copies, device)
    return by_network


def compare_labels(timings: Sequence[Timing], host_copies: bool, device: torch.device) -> None:
    """Notes how the labels of each setting of a network differ from the plain network's."""
    plain = timings[0]
    module_input = "rgb" if host_copies else "normalized"
    reference = ExportModule(plain.subject.net, plain.subject.mean, plain.subject.std,
                             module_input, "logits").to(device)
    for turn, batch in enumerate(plain.batches):
        plain.setting.configure()
        with torch.inference_mode():
            expected = reference(batch.to(device))
        for timing in timings:
            timing.differences.append(compare(expected, timing.predict(turn)))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_memory(options: Options, position: int,
                   setting: Setting) -> tuple[int | None, int | None]:
    """Returns the result of `peak` in a new process; (None, None) with `--no_memory`."""
    if not options.memory:
        return None, None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (options, position, setting, torch.get_num_threads()))


def peak(options: Options, position: int, setting: Setting,
         threads: int) -> tuple[int | None, int | None]:
    """Measures a prediction in this process.

    Returns:
        Bytes that the prediction adds at its peak, and bytes of the process at that peak; None
        where the system cannot measure them.
    """
    torch.set_num_threads(threads)
    device, subject = precision.default_device(), load(options, position)
    batch = timed_input(load_batches(options)[0], options, subject, device)
    labels = setting.build(subject, device, options.host_copies)
    setting.configure()
    for _ in range(options.warm_up):
        labels(batch)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
    else:
        try:
            # returns free memory to the system, which would hide a part of the peak
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            before = host_memory()
        except (OSError, AttributeError):
            # not Linux with glibc
            return None, None
    reset_peak(device)
    labels(batch)
    most = peak_memory(device)
    return most - before, most


def table(rows: Sequence[Row]) -> str:
    lines = [
        f"{'network':22} {'setting':13} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'images/s':>9} "
        f"{'x plain':>8} {'equal labels':>13} {'gap':>8} {'memory':>7} {'process':>8}"
    ]
    lines += [
        f"{row.network:22} {row.setting:13} {row.p50_ms:8.1f} {row.p90_ms:8.1f} {row.p99_ms:8.1f} "
        f"{row.images_per_second:9.2f} {row.times_plain:8.2f} {100 * row.equal_labels:11.4f} % "
        f"{row.largest_gap:8.1e} {_mib(row.memory):>7} {_mib(row.process):>8}"
        for row in rows
    ]
    return "\n".join([
        *lines,
        "gap: largest difference of the plain network's logits for its label and the setting's, "
        "as a fraction of its largest logit",
        "memory in MiB: added by a prediction at its peak, and of the process at that peak",
    ])


def _mib(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.0f}"
