"""Latency of predictions: networks and settings of the predictor, against the plain network."""
from __future__ import annotations

import ctypes
import gc
import json
import multiprocessing
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import datasets
import network
from eval import load_predictor
from network import fuse_for_inference
from tools.benchmark import exported
from tools.export.graph import Difference, ExportModule, compare
from utils import precision
from utils.batches import normalize
from utils.cli import FlagParser, add_switch, positive_int, size
from utils.evaluation.predictor import Predictor
from utils.files import write_text
from utils.training import run_folder

PLAIN = "plain"
PRECISIONS = {**precision.PRECISIONS, "tf32": torch.float32}
# prefix of a setting that is an exported file
EXPORTED = "onnx:"
WORDS = ("compile", "graphs")
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
    the head's stride. Float32 factors are rounded to TF32 in `tf32` only. `onnx:FILE` is an
    exported file in onnxruntime.
    """

    name: str

    @property
    def arithmetic(self) -> str:
        return "fp32" if self.name == PLAIN else self.name.split("+")[0]

    def has(self, word: str) -> bool:
        return word in self.name.split("+")[1:]

    def facts(self) -> dict[str, Any]:
        """Returns what it does, by the names of a row's columns."""
        optimized, in_torch = self.name != PLAIN, not self.name.startswith(EXPORTED)
        return {"precision": self.arithmetic if in_torch else "the file's",
                "normalization_folded": optimized, "channels_last": optimized and in_torch,
                "compiled": self.has("compile"), "cuda_graphs": self.has("graphs")}

    def configure(self) -> None:
        """Sets what holds for the whole process, and so must be set before each of its
        predictions.
        """
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
        elif self.name.startswith(EXPORTED):
            path = Path(self.name.removeprefix(EXPORTED))
            run = exported.labels(path, subject.name, host_copies)
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
        predictor = Predictor(fuse_for_inference(subject.net), device,
                              precision.resolve_precision(name, device), subject.mean, subject.std,
                              channels_last=True, compiled=self.has("compile"),
                              graphs=self.has("graphs"))
        if host_copies:
            return lambda images: predictor.labels(images).cpu()
        return predictor.labels_of_normalized


@dataclass(frozen=True)
class Subject:
    """A network to measure, with what normalizes its images."""

    name: str
    net: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """The measurements of one setting of one network.

    Attributes:
        largest_gap: largest difference between the plain network's largest logit and its logit of
            the setting's label, as a share of the largest logit. It tells ties from errors.
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

    def take(self, turn: int, device: torch.device) -> None:
        """Predicts once more, and notes the time."""
        self.setting.configure()
        synchronize(device)
        start = time.perf_counter()
        self.labels(self.batches[turn % len(self.batches)])
        synchronize(device)
        self.seconds.append(time.perf_counter() - start)

    def row(self, batch: int, plain: float, memory: int | None, process: int | None) -> Row:
        """Sums up; `plain` is the median time of the plain network, in seconds."""
        p50, p90, p99 = (1000 * float(np.percentile(self.seconds, share)) for share in (50, 90, 99))
        return Row(self.subject.name, self.setting.name, p50, p90, p99,
                   images_per_second=1000 * batch / p50, times_plain=1000 * plain / p50,
                   equal_labels=float(np.mean([difference.equal
                                               for difference in self.differences])),
                   largest_gap=max(difference.largest for difference in self.differences),
                   memory=memory, process=process, **self.setting.facts())


def parse_setting(text: str) -> Setting:
    if text.startswith(EXPORTED):
        return Setting(text)
    first, *words = text.split("+")
    if text != PLAIN and (first not in PRECISIONS or any(word not in WORDS for word in words)):
        raise ArgumentTypeError(
            f"{text!r} is no setting: give {PLAIN}, or {', '.join(PRECISIONS)} with or "
            f"without +{' +'.join(WORDS)}, such as bf16+compile"
        )
    return Setting(text)


def add_flags(parser: FlagParser) -> None:
    parser.add_argument("--arch", nargs="+", default=["sfnet_resnet18", "sfnet_dfnetv1"],
                        metavar="NAME", help="networks with random weights")
    parser.add_argument("--snapshot", nargs="+", type=Path, default=[], metavar="FILE",
                        help="trained networks, in place of --arch")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--settings", nargs="+", type=parse_setting, metavar="SETTING",
        help=f"{PLAIN} (the unit, always measured) and {'|'.join(PRECISIONS)}[+compile][+graphs], "
        f"and {EXPORTED}FILE, exported and run by onnxruntime on the CPU; without, those that "
        "suit the device",
    )
    which.add_argument(
        "--exact", action="store_true",
        help=f"only what keeps the network's own arithmetic: --settings {' '.join(EXACT)}",
    )
    parser.add_argument("--size", type=size, default=(1024, 2048),
                        help="HEIGHTxWIDTH of the images")
    parser.add_argument("--batch", type=positive_int, default=1, help="images at once")
    parser.add_argument("--rounds", type=positive_int, default=10,
                        help="timed predictions of each setting")
    parser.add_argument("--warm_up", type=positive_int, default=2,
                        help="predictions of each setting before them")
    parser.add_argument(
        "--pictures", nargs="+", type=Path, default=[], metavar="FILE",
        help="real pictures, resized to --size, on which labels are compared; without, smooth "
        "colors",
    )
    add_switch(parser, "--host_copies", default=False,
               help="time from bytes in the host's memory to labels there")
    add_switch(parser, "--memory", default=True,
               help="measure memory as well, each setting in a process of its own")
    add_switch(
        parser, "--interleave_networks", default=True,
        help="take the networks in turn too, which holds all of them in memory; without, one "
        "after another",
    )
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write protocol and rows to this file")


def run(args: Namespace) -> None:
    """Measures and prints. Raises ValueError or OSError for what cannot be built, run or read."""
    device = precision.default_device()
    usual = [Setting(name)
             for name in (EXACT if args.exact else DEFAULT_SETTINGS.get(device.type, EXACT))]
    settings = [Setting(PLAIN),
                *(setting
                  for setting in dict.fromkeys(args.settings or usual) if setting.name != PLAIN)]
    protocol = describe(args, device)
    print("\n".join(f"{name:16} {value}" for name, value in protocol.items()), flush=True)
    positions = range(len(args.snapshot or args.arch))
    memory = iter([peak_in_fresh_process(args, position, setting) if args.memory else (None, None)
                   # before this process holds any network
                   for position in positions for setting in settings])
    rows: list[Row] = []
    for group in (
        [positions] if args.interleave_networks else [[position] for position in positions]
    ):
        for timings in measure(args, [load(args, position) for position in group], settings,
                               device):
            plain = float(np.median(timings[0].seconds))
            rows += [timing.row(args.batch, plain, *next(memory)) for timing in timings]
    print(table(rows))
    if args.json:
        result = {"protocol": protocol, "rows": [asdict(row) for row in rows]}
        write_text(args.json, json.dumps(result, indent=2) + "\n")


def describe(args: Namespace, device: torch.device) -> dict[str, Any]:
    """Returns the protocol: what a figure of this run depends on."""
    facts = run_folder.environment(device, "", [])
    turns = "networks and settings" if args.interleave_networks else "settings"
    copies = ("inside: bytes from the host, labels to it"
              if args.host_copies
              else "outside: float images on the device")
    return {"device": facts["device"], "clock": f"{clock(device)} MHz at the start",
            "threads": facts["threads"], "torch": facts["torch"], "commit": facts["commit"],
            "size": f"{args.size[0]}x{args.size[1]}", "batch": args.batch, "warm-up": args.warm_up,
            "rounds": f"{args.rounds}, {turns} interleaved",
            "synchronized": "before and after each prediction"
            if device.type == "cuda"
            else "a CPU needs none",
            "inside": INSIDE, "host copies": copies,
            "normalization": f"folded into convolutions, but for {PLAIN}",
            "float32": f"not rounded to TF32, but for tf32; {PLAIN} is float32"}


def clock(device: torch.device) -> float | None:
    """Returns the clock in MHz; None where the machine does not tell."""
    if device.type == "cuda":
        try:
            return torch.cuda.clock_rate(device)
        except (ImportError, RuntimeError):
            # the driver's library is not there
            return None
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    return next((float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")), None)


def load(args: Namespace, position: int) -> Subject:
    """Returns the network at a position of `--snapshot` or else `--arch`."""
    if args.snapshot:
        model = load_predictor(args.snapshot[position], device="cpu", precision="fp32",
                               channels_last=False, fuse=False)
        return Subject(model.trained.arch, model.net, model.spec.mean, model.spec.std)
    torch.manual_seed(0)
    spec, name = datasets.spec(RANDOM_SPEC), args.arch[position]
    return Subject(name, network.build(name, spec.num_classes).eval(), spec.mean, spec.std)


def images_to_predict(args: Namespace) -> list[Tensor]:
    """Returns batches (N, 3, H, W) uint8 to parse; one of smooth colors where no picture is
    named.
    """
    if not args.pictures:
        colors = torch.rand(args.batch, 3, 5, 9, generator=torch.Generator().manual_seed(0))
        return [(F.interpolate(colors, size=args.size,
                               mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)]
    read = [cv2.resize(datasets.read_image(path), args.size[::-1], interpolation=cv2.INTER_LINEAR)
            for path in args.pictures]
    return [torch.from_numpy(image).permute(2, 0, 1)[None].repeat(args.batch, 1, 1, 1)
            for image in read]


def timed_input(batch: Tensor, args: Namespace, subject: Subject, device: torch.device) -> Tensor:
    """Returns what a network is timed on: bytes on the host, or what it sees of them on the
    device.
    """
    return batch if args.host_copies else normalize(batch.to(device), subject.mean, subject.std)


def measure(args: Namespace, subjects: Sequence[Subject], settings: Sequence[Setting],
            device: torch.device) -> list[list[Timing]]:
    """Times every setting of every network, one prediction of each in turn, and compares labels
    with the plain's.

    Returns:
        The settings of each network, the plain one first.
    """
    # networks compiled before must not count as recompilings
    torch.compiler.reset()
    all_timings, batches = [], images_to_predict(args)
    for subject in subjects:
        inputs = [timed_input(batch, args, subject, device) for batch in batches]
        all_timings.append([Timing(subject, setting,
                                   setting.build(subject, device, args.host_copies), inputs)
                            for setting in settings])
    timings = [timing for network_timings in all_timings for timing in network_timings]
    # all compile the same lines
    with torch._dynamo.config.patch(cache_size_limit=2 * len(timings)):
        for timing in timings:
            for _ in range(args.warm_up):
                timing.predict(0)
        for turn in range(args.rounds):
            for timing in timings:
                timing.take(turn, device)
        for network_timings in all_timings:
            plain = network_timings[0]
            module_input = "rgb" if args.host_copies else "normalized"
            reference = ExportModule(plain.subject.net, plain.subject.mean, plain.subject.std,
                                     module_input, "logits").to(device)
            for turn, batch in enumerate(plain.batches):
                plain.setting.configure()
                with torch.inference_mode():
                    expected = reference(batch.to(device))
                for timing in network_timings:
                    timing.differences.append(compare(expected, timing.predict(turn)))
    return all_timings


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_in_fresh_process(args: Namespace, position: int,
                          chosen: Setting) -> tuple[int | None, int | None]:
    """Returns the bytes that a prediction takes, and those of its process at the peak, measured in
    a new process.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak, (args, position, chosen, torch.get_num_threads()))


def peak(args: Namespace, position: int, chosen: Setting,
         threads: int) -> tuple[int | None, int | None]:
    """Measures this process: the peak during a prediction, above what lay there before it, and in
    all.
    """
    torch.set_num_threads(threads)
    device, subject = precision.default_device(), load(args, position)
    batch = timed_input(images_to_predict(args)[0], args, subject, device)
    contender = chosen.build(subject, device, args.host_copies)
    chosen.configure()
    for _ in range(args.warm_up):
        contender(batch)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        contender(batch)
        most = torch.cuda.max_memory_allocated(device)
        return most - before, most
    try:
        # gives what is free back, so that it is not hidden below
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        # the peak starts anew
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
    except (OSError, AttributeError):
        # not Linux with glibc
        return None, None
    contender(batch)
    most = resident("VmHWM")
    return most - before, most


def resident(field: str) -> int:
    """Returns a memory field of this process, in bytes, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


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
        "gap: by how much of its largest logit the plain network prefers its labels, at worst",
        "memory in MiB: what a prediction adds at its peak, and the process at that peak",
    ])


def _mib(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.0f}"
