"""A drill with two hosts, network namespaces of this machine, whose connection is interrupted."""
from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tools.maintainer.fault_drill.site import PATIENCE, BrokenPromise, DrillSite, SkippedDrill
from utils.files import ROOT

# --timeout, in minutes, of the run whose host is cut off
TIMEOUT = 0.25
FIRST_PORT = 29400
NAMESPACES = ("drill_a", "drill_b")
CABLE_ENDS = ("drill_va", "drill_vb")


class Host(NamedTuple):
    """A network namespace.

    Attributes:
        address: its IP address.
        prefix: the words before a command that run it there.
    """

    address: str
    prefix: Sequence[str]


def host_cut_off(site: DrillSite) -> str:
    """Cuts the cable between two hosts; each must report it, end after mending, and resume."""
    site.undisturbed(2)
    exp = "hosts"
    logs = [site.folder / f"host_{name}.log" for name in "ab"]
    with two_hosts() as (hosts, set_cable):
        processes = _start_on_both(site, hosts, logs, site.flags(exp), FIRST_PORT)
        site.wait_for_step(processes[0], exp, 4)
        set_cable("down")
        reported = _wait_for_reports(logs)
        set_cable("up")
        mended = time.monotonic()
        for process in processes:
            site.wait(process, None)
        ended = time.monotonic() - mended
        for process in _start_on_both(site, hosts, logs, site.resume_flags(exp), FIRST_PORT + 1):
            site.wait(process, 0)
    return (f"an error on both within {reported:.0f} s (--timeout {60 * TIMEOUT:.0f} s), all ended "
            f"{ended:.0f} s after the cable was mended; resumed on both, "
            f"{site.compare_with_undisturbed(exp, 2)}")


def _start_on_both(site: DrillSite, hosts: Sequence[Host], logs: Sequence[Path],
                   flags: Sequence[str], port: int) -> list[subprocess.Popen[str]]:
    """Starts one process of a run on each host."""
    processes = []
    for host, log in zip(hosts, logs, strict=True):
        # Host names do not resolve in a namespace, so torchrun cannot find out by itself which host
        # holds the rendezvous.
        holds_rendezvous = 1 if host is hosts[0] else 0
        program = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1",
                   "--rdzv_backend", "c10d", "--rdzv_endpoint", f"{hosts[0].address}:{port}",
                   "--rdzv_id", f"drill{port}", "--local_addr", host.address, "--rdzv_conf",
                   f"is_host={holds_rendezvous}", str(ROOT / "train.py")]
        processes.append(site.start([*flags, "--timeout", str(TIMEOUT)], prefix=host.prefix,
                                    stdout=log.open("w"), program=program))
    return processes


def _wait_for_reports(logs: Sequence[Path]) -> float:
    """Returns the seconds until both hosts report that the other is silent."""
    start = time.monotonic()
    while not all("another process ended or is silent" in log.read_text() for log in logs):
        if time.monotonic() - start > PATIENCE:
            outputs = "\n".join(log.read_text() for log in logs)
            raise BrokenPromise(f"a host does not report the other's silence:\n{outputs}")
        time.sleep(0.1)
    return time.monotonic() - start


@contextmanager
def two_hosts() -> Iterator[tuple[list[Host], Callable[[str], None]]]:
    """Yields two connected network namespaces, and a function that sets the cable "up" or "down".

    Raises:
        SkippedDrill: this user may not make namespaces, or there is no `ip`.
    """
    if shutil.which("ip") is None:
        raise SkippedDrill("it needs the command ip (iproute2)")
    hosts = []
    for number, (name, end) in enumerate(zip(NAMESPACES, CABLE_ENDS, strict=True), start=1):
        prefix = ("ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={end}")
        hosts.append(Host(f"10.77.0.{number}", prefix))
    try:
        _connect(hosts)
        yield hosts, lambda state: _ip("-n", NAMESPACES[1], "link", "set", CABLE_ENDS[1], state)
    finally:
        for name in NAMESPACES:
            with suppress(SkippedDrill):
                _ip("netns", "delete", name)


def _connect(hosts: Sequence[Host]) -> None:
    """Creates the namespaces, and the cable between them."""
    for name in NAMESPACES:
        _ip("netns", "add", name)
    first, second = CABLE_ENDS
    _ip("link", "add", first, "netns", NAMESPACES[0], "type", "veth", "peer", "name", second,
        "netns", NAMESPACES[1])
    for name, end, host in zip(NAMESPACES, CABLE_ENDS, hosts, strict=True):
        _ip("-n", name, "address", "add", f"{host.address}/24", "dev", end)
        for link in (end, "lo"):
            _ip("-n", name, "link", "set", link, "up")


def _ip(*words: str) -> None:
    """Runs the command `ip`. Raises SkippedDrill if it fails."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkippedDrill(f"it needs root and network namespaces ({done.stderr.strip()})")
