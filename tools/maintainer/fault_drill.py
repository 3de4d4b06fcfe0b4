"""Breaks small training runs on purpose and checks what is left of them: `python -m tools.maintainer.fault_drill`.

Each drill trains on a few drawn street scenes, breaks the run, lets it go on, and compares the final weights with those
of a run that nobody disturbed, bit by bit.
"""
from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

import network
from tools.make_streets import __main__ as make_streets
from utils import files
from utils.cli import FlagParser, positive_int
from utils.files import replace_between
from utils.training import checkpoint, run_folder

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0                                            # seconds that any wait may last
DEFAULT_TIMEOUT = 0.25                                              # minutes: --timeout of the run whose host is cut off
BEGIN, END = "<!-- drills: python -m tools.maintainer.fault_drill --doc docs/reliability.md -->", "<!-- end of drills -->"
FORM = ("--arch", "sfnet_dfnetv1", "--pretrained", "none", "--crop_size", "64", "--global_batch", "4",
        "--num_workers", "0", "--precision", "fp32", "--log_every", "1", "--val_split", "none", "--ema_decay", "0.9")


class Skipped(Exception):
    """This machine cannot run the drill; the message says why."""


class Broken(Exception):
    """The drill found a promise that is not kept."""


class Range:
    """Where the drills happen: a folder with street scenes, and the commands that train on them.

    Args:
        steps: of each run.
        times: how often the drills that repeat something do so.
    """

    def __init__(self, folder: Path, steps: int, times: int, seed: int) -> None:
        self.folder, self.steps, self.times, self.dice = folder, steps, times, random.Random(seed)
        self.wholes: dict[int, dict[str, Any]] = {}
        make_streets.main(["--out", str(folder / "data"), "--train", "8", "--val", "1", "--size", "64x128",
                           "--workers", "1"])

    def flags(self, exp: str) -> list[str]:
        return [*FORM, "--data_root", str(self.folder / "data"), "--ckpt", str(self.folder), "--exp", exp,
                "--max_iters", str(self.steps), "--checkpoint_every", "3"]

    def start(self, words: Sequence[str], processes: int = 1, restarts: int = 0, prefix: Sequence[str] = (),
              program: Sequence[str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Starts train.py with these flags, under torchrun when there are several processes; or another program."""
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes),
                    "--max_restarts", str(restarts)]
        program = program or [*(torchrun if processes > 1 else ()), str(ROOT / "train.py")]
        # A shell in the background starts its children with SIGINT ignored; a run must not inherit that.
        return subprocess.Popen(
            [*prefix, sys.executable, *program, *words], stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            **{"stdout": subprocess.PIPE, "preexec_fn": _heed_interrupts, **options})

    def run(self, words: Sequence[str], code: int | None = 0, **how: Any) -> str:
        """Runs train.py to its end; returns what it said."""
        return self.end(self.start(words, **how), code)

    def end(self, process: subprocess.Popen[str], code: int | None) -> str:
        """Waits for a process; returns what it said. Raises Broken at another exit code (any but 0 for None)."""
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise Broken(f"the run still hangs after {PATIENCE:.0f} s") from error
        if process.returncode != code and (code is not None or process.returncode == 0):
            raise Broken(f"exit code {process.returncode} instead of {'an error' if code is None else code}:\n{said}")
        return said

    def resume(self, exp: str) -> list[str]:
        return ["--resume", str(self.folder / exp)]

    def whole(self, processes: int = 1) -> dict[str, Any]:
        """Returns the last checkpoint of a run that nobody disturbs."""
        if processes not in self.wholes:
            self.run(self.flags(f"whole_{processes}"), processes=processes)
            self.wholes[processes] = network.checkpoints.weights.read(self.folder / f"whole_{processes}" / "last.pth")
        return self.wholes[processes]

    def step(self, exp: str) -> int:
        """Returns the last step that a run has logged."""
        path = self.folder / exp / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        with suppress(json.JSONDecodeError, IndexError):
            return json.loads(lines[-1])["step"]
        return 0

    def wait_for(self, process: subprocess.Popen[str], exp: str, step: int) -> None:
        """Waits until a run has logged a step."""
        deadline = time.monotonic() + PATIENCE
        while self.step(exp) < step:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Broken(f"the run never came to step {step}:\n{self.end(process, process.poll())}")
            time.sleep(0.01)

    def kill_at(self, exp: str, step: int) -> None:
        """Starts a run, and kills it when it has logged a step."""
        process = self.start(self.flags(exp))
        self.wait_for(process, exp, step)
        process.kill()
        self.end(process, -signal.SIGKILL)

    def same_as_whole(self, exp: str, processes: int = 1) -> str:
        """Returns words for it when weights, averages and momenta equal the undisturbed run's bit by bit."""
        whole, own = self.whole(processes), network.checkpoints.weights.read(self.folder / exp / "last.pth")
        for part in ("state_dict", "ema"):
            different = [key for key in whole[part] if not torch.equal(whole[part][key], own[part][key])]
            if different:
                raise Broken(f"{len(different)} tensors of {part} differ, {different[0]} among them")
        logged = [json.loads(line)["step"] for line in (self.folder / exp / "metrics.jsonl").read_text().splitlines()]
        if logged != list(range(1, self.steps + 1)):
            raise Broken(f"metrics.jsonl has steps {logged}")
        return "final weights bit-identical, each step logged once"


def killed_at_random_steps(site: Range) -> str:
    step, words = 0, site.flags("killed")
    gaps = [site.dice.randint(1, max(1, 2 * site.steps // site.times - 2)) for _ in range(site.times)]
    lost = []
    for gap in gaps:
        process = site.start(words)
        step = min(step + gap, site.steps - 1)
        site.wait_for(process, "killed", step)
        process.kill()
        site.end(process, -signal.SIGKILL)
        reached = site.step("killed")
        words = site.resume("killed") if (site.folder / "killed" / "args.json").is_file() else words
        state = checkpoint.newest(site.folder / "killed", network.checkpoints.weights.read)
        lost.append(reached - (state["step"] if state else 0))
        step = state["step"] if state else 0
    site.run(words)
    return f"{site.same_as_whole('killed')}; at most {max(lost)} steps were done again"


def killed_while_saving(site: Range) -> str:
    folder, payload = site.folder / "saves", {"weights": torch.arange(4_000_000.0), "step": 0}
    checkpoint.save(folder, payload, 0, 2)
    torn = 0
    for _ in range(2 * site.times):
        first = checkpoint.saved(folder)[0]
        process = multiprocessing.get_context("fork").Process(target=_save_forever, args=(folder, first, payload))
        process.start()
        while not list((folder / "checkpoints").glob("*.tmp")):
            time.sleep(0.0005)
        time.sleep(site.dice.uniform(0, 0.06))
        process.kill()
        process.join()
        torn += bool(list((folder / "checkpoints").glob("*.tmp")))
        state = checkpoint.newest(folder, network.checkpoints.weights.read)
        if state is None or not torch.equal(state["weights"], payload["weights"] + state["step"]):
            raise Broken("no whole checkpoint is left")
    return f"a whole checkpoint each time ({torn} of {2 * site.times} kills left a torn file beside it)"


def _save_forever(folder: Path, newest: Path, payload: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    step = int(newest.stem[5:])
    while True:
        step += 1
        checkpoint.save(folder, {"weights": payload["weights"] + step, "step": step}, step, 2)


def stopped_by_signals(site: Range) -> str:
    words, codes = site.flags("signals"), []
    for number, step in ((signal.SIGINT, 2), (signal.SIGTERM, 4), (signal.SIGUSR1, 6)):
        process = site.start(words)
        site.wait_for(process, "signals", step)
        process.send_signal(number)
        site.end(process, 128 + number)
        codes.append(128 + number)
        words = site.resume("signals")
    site.run(words)
    return f"exit codes {', '.join(map(str, codes))}; {site.same_as_whole('signals')}"


def truncated_checkpoint(site: Range) -> str:
    site.kill_at("truncated", 7)
    newest, *older = checkpoint.saved(site.folder / "truncated")
    if not older:
        raise Broken("there is one checkpoint only")
    os.truncate(newest, newest.stat().st_size // 2)
    said = site.run(site.resume("truncated"))
    if f"{newest.name} is damaged" not in said or f"going on from step {older[0].stem[5:]}" not in said:
        raise Broken(f"the damage was not told:\n{said}")
    return f"told, and gone on from the one before; {site.same_as_whole('truncated')}"


def disk_without_room(site: Range) -> str:
    site.kill_at("full", 4)
    before = checkpoint.saved(site.folder / "full")[0]

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before.stat().st_size // 2, resource.RLIM_INFINITY))

    said = site.run(site.resume("full"), code=2, preexec_fn=little_room)
    if "could not be written" not in said or checkpoint.saved(site.folder / "full")[0] != before:
        raise Broken(f"the checkpoint before is gone, or nothing was said:\n{said}")
    site.run(site.resume("full"))
    return f"told (exit code 2), the checkpoint before kept; {site.same_as_whole('full')}"


def worker_dies(site: Range) -> str:
    site.whole(2)
    process = site.start(site.flags("worker"), processes=2, restarts=1)
    site.wait_for(process, "worker", 5)
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    os.kill(max(workers), signal.SIGKILL)
    said = site.end(process, 0)
    if "going on from step" not in said:
        raise Broken(f"the run did not go on:\n{said}")
    return f"torchrun started both again, and they went on by themselves; {site.same_as_whole('worker', 2)}"


def process_raises(site: Range) -> str:
    """One of two processes meets a damaged image that only it reads; both must end, with its message."""
    data = site.folder / "data_broken"
    shutil.copytree(site.folder / "data", data)
    broken = sorted(data.glob("leftImg8bit/train/*/*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:-200])
    words = [str(data) if word == str(site.folder / "data") else word for word in site.flags("raises")]
    start = time.monotonic()
    said = site.run(words, code=None, processes=2)
    if broken.name not in said:
        raise Broken(f"the image is not named:\n{said}")
    return f"both ended with an error that names the file, {time.monotonic() - start:.0f} s after the start"


def host_cut_off(site: Range) -> str:
    """While the cable is cut each host must give up with an error; mended, both must end and the run must go on."""
    site.whole(2)
    logs = [site.folder / f"host_{name}.log" for name in "ab"]
    with two_hosts() as (hosts, cut):
        def both(words: Sequence[str]) -> list[subprocess.Popen[str]]:
            return [site.start([*words, "--timeout", str(DEFAULT_TIMEOUT)], prefix=host.prefix, stdout=log.open("w"), program=[
                "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1", "--rdzv_backend", "c10d",
                "--rdzv_endpoint", f"{hosts[0].address}:{port}", "--rdzv_id", f"drill{port}", "--local_addr",
                host.address, "--rdzv_conf", f"is_host={int(host is hosts[0])}",           # names lead elsewhere here
                str(ROOT / "train.py")]) for host, log in zip(hosts, logs, strict=True)]

        port = 29400
        started = both(site.flags("hosts"))
        site.wait_for(started[0], "hosts", 4)
        cut(True)
        since = time.monotonic()
        while not all("another process ended or is silent" in log.read_text() for log in logs):
            if time.monotonic() - since > PATIENCE:
                raise Broken("a host says nothing of the other's silence:\n" + "\n".join(map(Path.read_text, logs)))
            time.sleep(0.1)
        took = time.monotonic() - since
        cut(False)
        mended = time.monotonic()
        for process in started:
            site.end(process, None)
        ended = time.monotonic() - mended
        port += 1
        for process in both(site.resume("hosts")):
            site.end(process, 0)
    return (f"an error on both within {took:.0f} s (--timeout {60 * DEFAULT_TIMEOUT:.0f} s), all ended {ended:.0f} s after the "
            f"cable was mended; resumed on both, {site.same_as_whole('hosts', 2)}")


class Host(NamedTuple):
    address: str
    prefix: Sequence[str]


@contextmanager
def two_hosts() -> Iterator[tuple[list[Host], Callable[[bool], None]]]:
    """Two network namespaces with a cable between them, and a function that cuts (True) or mends (False) the cable.

    Raises:
        Skipped: this user may not make them, or there is no `ip`.
    """
    if shutil.which("ip") is None:
        raise Skipped("it needs the command ip (iproute2)")
    names, ends = ("drill_a", "drill_b"), ("drill_va", "drill_vb")
    hosts = [Host(f"10.77.0.{i + 1}", ("ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={end}"))
             for i, (name, end) in enumerate(zip(names, ends, strict=True))]
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1])
        for name, end, host in zip(names, ends, hosts, strict=True):
            _ip("-n", name, "address", "add", f"{host.address}/24", "dev", end)
            for link in (end, "lo"):
                _ip("-n", name, "link", "set", link, "up")
        yield hosts, lambda off: _ip("-n", names[1], "link", "set", ends[1], "down" if off else "up")
    finally:
        for name in names:
            with suppress(Skipped):
                _ip("netns", "delete", name)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"it needs root and network namespaces ({done.stderr.strip()})")


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Drill(NamedTuple):
    fault: str
    run: Callable[[Range], str]


DRILLS = {
    "kill": Drill("kill -9 at random steps, {times} times in one run", killed_at_random_steps),
    "save": Drill("kill -9 during a save, {twice} times", killed_while_saving),
    "signals": Drill("SIGINT, SIGTERM and SIGUSR1, one after another", stopped_by_signals),
    "truncated": Drill("the newest checkpoint cut in half", truncated_checkpoint),
    "full": Drill("a checkpoint that cannot be written whole (file size limit)", disk_without_room),
    "worker": Drill("kill -9 of one of two processes under torchrun", worker_dies),
    "raises": Drill("an exception in one of two processes", process_raises),
    "hosts": Drill("one of two hosts (network namespaces) cut off and brought back", host_cut_off),
}


def build_parser() -> FlagParser:
    parser = FlagParser(prog="tools.maintainer.fault_drill", description="Break training runs on purpose and check what is left.")
    parser.add_argument("--only", nargs="+", choices=tuple(DRILLS), default=list(DRILLS), help="these drills alone")
    parser.add_argument("--steps", type=positive_int, default=40, help="of each run")
    parser.add_argument("--times", type=positive_int, default=10, help="kills of a run; saves get twice as many")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which something breaks")
    parser.add_argument("--doc", type=Path, metavar="FILE", help="write the table into this document")
    return parser


def drill(args: Namespace) -> tuple[list[str], bool]:
    """Runs the drills; returns the rows of the table and whether every promise was kept."""
    rows, kept = [], True
    with tempfile.TemporaryDirectory() as scratch:
        site = Range(Path(scratch), args.steps, args.times, args.seed)
        for name in args.only:
            fault, start = DRILLS[name].fault.format(times=args.times, twice=2 * args.times), time.monotonic()
            try:
                result = DRILLS[name].run(site)
            except Skipped as skipped:
                result = f"skipped: {skipped}"
            except Broken as broken:
                result, kept = f"NOT KEPT: {broken}", False
            seconds = time.monotonic() - start
            print(f"{name:10} {fault}\n{'':10} {result} ({seconds:.0f} s)", flush=True)
            rows.append(f"| {fault} | {result.splitlines()[0]} | {seconds:.0f} s |")
    return rows, kept


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        rows, kept = drill(args)
        if args.doc:
            host = run_folder.environment(torch.device("cpu"), "fp32", ())
            where = (f"{time.strftime('%Y-%m-%d')}, commit {(host['commit'] or 'unknown')[:7]}, {host['device']}, "
                     f"{os.cpu_count()} cores, no GPU, torch {host['torch']}:")
            table = ["| fault | what was left of the run | took |", "|---|---|---|", *rows]
            files.write_text(args.doc, replace_between(args.doc.read_text(), BEGIN, END, "\n".join([where, "", *table])))
    except (ValueError, OSError) as error:
        print(f"tools.maintainer.fault_drill: error: {error}", file=sys.stderr)
        return 2
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
