"""setup_env.sh, quickstart.sh and run_tests.sh with stubs for python, pip and df.

A missing requirement is reported in one line, no work is done twice, and a failing stage is not
hidden.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROBE = """ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$ROOT/scripts/setup_env.sh"
setup_env "$@"
echo "python=$PYTHON"
"""
FAKE_PYTHON = """#!/bin/sh
case "$*" in
*"sys.exit(sys.version_info"*) exit ${TOO_OLD:-0} ;;
*print*) echo "${VERSION:-3.12.1}" ;;
*ensurepip*) exit ${NO_ENSUREPIP:-0} ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >>"$CALLS" ;;
"-m pip "*"[${PIP_LACKS:-nothing}]") exit 1 ;;
"-m pip "*) echo "$*" >>"$CALLS"; exit ${PIP_STATUS:-0} ;;
"-c "*) exit 0 ;;
*) echo "$*" >>"$CALLS"
   case "$*" in
   *train.py*) mkdir -p logs/quickstart && : >logs/quickstart/args.json ;;
   *${FAILS:-nothing}*) exit 3 ;;
   esac ;;
esac
"""
FAKE_DF = """#!/bin/sh
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "/dev/disk 100 50 ${FREE_KB:-99999999} 50% /"
"""


class Machine:
    """A machine with a checkout (scripts and setup.cfg only) and stubs for python, pip and df."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "a checkout"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.venv = self.checkout / ".venv"
        shutil.copytree(ROOT / "scripts", self.checkout / "scripts")
        shutil.copy(ROOT / "setup.cfg", self.checkout)
        (self.checkout / "scripts/probe.sh").write_text(PROBE)
        self.bin.mkdir()
        for name in ("python", "python3", "python3.10", "python3.11", "python3.12", "python3.13"):
            self.put(name, FAKE_PYTHON)
        self.put("df", FAKE_DF)

    def put(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def setup(self, *extra: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return self.run("probe", *extra, **settings)

    def run(self, script: str, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.bin),
            "CALLS": str(self.calls),
            "NPROC": "1",
            **settings,
        }
        return subprocess.run(
            ["sh", str(self.checkout / f"scripts/{script}.sh"), *words],
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )

    def programs(self) -> list[str]:
        """What was run, without the installation, oldest first."""
        return [
            line
            for line in self.calls.read_text().splitlines()
            if line != "venv" and "pip install" not in line
        ]

    def installed(self) -> list[str]:
        """The extras that pip was asked for, one entry a call."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line.rsplit("a checkout", 1)[1] for line in lines if "pip install" in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def fails_with(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 1
    error = done.stderr.strip()
    assert len(error.splitlines()) == 1, error
    assert error.startswith("error: ")
    for part in parts:
        assert part in error


def test_an_old_python_is_named_with_what_to_do(machine: Machine) -> None:
    fails_with(
        machine.setup(TOO_OLD="1", VERSION="3.6.15"),
        "Python 3.10 or newer is needed",
        "python3 is 3.6.15",
        "PYTHON=/path/to/python3",
    )
    assert not machine.venv.exists()


def test_a_machine_without_any_python_is_told_so(machine: Machine) -> None:
    for path in machine.bin.glob("python*"):
        path.write_text("#!/bin/sh\nexit 127\n")
    fails_with(machine.setup(), "found: none")


def test_a_newer_python_beside_an_old_one_is_taken(machine: Machine) -> None:
    machine.put("python3", FAKE_PYTHON.replace("${TOO_OLD:-0}", "1"))
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert machine.installed() == [""]


def test_an_interpreter_may_be_named_from_the_callers_folder(machine: Machine) -> None:
    # the script is called in the folder /, and changes to the checkout
    relative = str(machine.bin / "python3.11").removeprefix("/")
    done = machine.run("quickstart", PYTHON=relative)
    assert done.returncode == 0, done.stderr
    assert f"Creating {machine.venv} with Python" in done.stdout


def test_a_missing_ensurepip_is_named_with_the_package_to_install(machine: Machine) -> None:
    fails_with(
        machine.setup(NO_ENSUREPIP="1"), "venv or ensurepip is missing", "apt install python3-venv"
    )


def test_a_full_disk_is_said_before_anything_is_downloaded(machine: Machine) -> None:
    fails_with(machine.setup(FREE_KB=str(3 * 1048576)), "disk", "too full", "7 GB", "3 GB are left")
    assert machine.installed() == []


def test_a_failing_pip_tells_what_to_check_and_leaves_no_stamp(machine: Machine) -> None:
    fails_with(
        machine.setup(PIP_STATUS="1"), "pip could not install", "HTTPS_PROXY", "Python 3.12.1"
    )
    assert not list(machine.venv.glob(".installed-*"))


def test_the_second_run_installs_nothing(machine: Machine) -> None:
    assert machine.setup("test").returncode == 0
    done = machine.setup("test")
    assert done.returncode == 0
    assert f"python={machine.venv}/bin/python" in done.stdout
    assert machine.installed() == ["[test]"]


def test_the_test_extra_serves_the_plain_run_but_not_the_reverse(machine: Machine) -> None:
    machine.setup()
    machine.setup("test")
    machine.setup()
    assert machine.installed() == ["", "[test]"]


def test_changed_requirements_are_installed_into_the_same_environment(machine: Machine) -> None:
    machine.setup()
    with (machine.checkout / "setup.cfg").open("a") as file:
        file.write("# another requirement\n")
    machine.setup()
    assert machine.calls.read_text().splitlines()[0] == "venv"
    assert machine.calls.read_text().count("venv\n") == 1
    assert machine.installed() == ["", ""]


def test_an_interrupted_installation_is_made_again_from_nothing(machine: Machine) -> None:
    machine.setup(PIP_STATUS="1")
    (machine.venv / "half").touch()
    assert (machine.venv / ".installing").exists()
    done = machine.setup()
    assert done.returncode == 0
    assert "interrupted" in done.stdout
    assert not (machine.venv / "half").exists()
    assert not (machine.venv / ".installing").exists()


def test_an_installation_under_way_is_left_alone(machine: Machine) -> None:
    machine.venv.mkdir()
    (machine.venv / ".installing").write_text(str(os.getpid()))
    fails_with(machine.setup(), f"process {os.getpid()} is installing")


def test_an_environment_made_by_hand_is_kept(machine: Machine) -> None:
    subprocess.run(
        [str(machine.bin / "python3"), "-m", "venv", str(machine.venv)],
        check=True,
        env={"PATH": os.environ["PATH"], "CALLS": str(machine.calls)},
    )
    (machine.venv / "mine").touch()
    assert machine.setup().returncode == 0
    assert (machine.venv / "mine").exists()


def test_the_quick_start_draws_trains_and_scores(machine: Machine) -> None:
    done = machine.run("quickstart", "--max_epoch", "1")
    assert done.returncode == 0, done.stderr
    draw, train, score = machine.programs()
    assert draw.startswith("-m tools.make_streets --out data/streets ")
    assert train.startswith(f"{machine.checkout}/train.py ")
    assert "--pretrained auto --arch sfnet_lite_timm:tf_efficientnet_lite0" in train
    assert train.endswith("--exp quickstart --max_epoch 1")
    assert score.startswith(
        "eval.py --snapshot logs/quickstart/last.pth --data_root data/streets --split val"
    )
    assert "mIoU" in done.stdout
    assert "--report" in score
    assert f"{machine.checkout}/logs/quickstart/report/index.html" in done.stdout


def test_the_second_quick_start_goes_on_with_the_same_run(machine: Machine) -> None:
    machine.run("quickstart")
    first = len(machine.programs())
    assert machine.run("quickstart").returncode == 0
    assert machine.programs()[first + 1] == "train.py --resume logs/quickstart"
    assert machine.installed() == ["[report]", "[imagenet]"]


def test_the_quick_start_without_imagenet_weights_starts_from_random_ones(machine: Machine) -> None:
    done = machine.run("quickstart", PIP_LACKS="imagenet")
    assert done.returncode == 0, done.stderr
    assert "cannot be installed: starting from random weights" in done.stdout
    _, train, _ = machine.programs()
    assert "--recipe streets --arch sfnet_resnet18" in train


def test_the_quick_start_stops_at_the_first_failure_with_its_status(machine: Machine) -> None:
    assert machine.run("quickstart", FAILS="make_streets").returncode == 3
    assert len(machine.programs()) == 1


def test_run_tests_runs_every_stage_and_fails_if_one_does(machine: Machine) -> None:
    done = machine.run("run_tests", FAILS="ruff")
    assert done.returncode == 1
    summary = done.stdout.rsplit("== summary", 1)[1]
    assert [line.split()[:2] for line in summary.splitlines()[1:]] == [
        ["passed", "setup"],
        ["FAILED", "ruff"],
        ["passed", "mypy"],
        ["FAILED", "end-to-end"],
        ["passed", "pytest,"],
        ["passed", "pytest,"],
        ["passed", "pytest,"],
    ]
    # together they run every folder of tests
    places = [
        program.split("--durations=5 ")[1].split(" -m ")[0] for program in machine.programs()[-3:]
    ]
    rest = "tests --ignore tests/tools --ignore tests/utils"
    assert places == [rest, "tests/tools", "tests/utils"]
    assert machine.installed() == ["[test]"]


@pytest.mark.parametrize(
    ("words", "marks"),
    [
        ((), "(not slow) and (gpu or not gpu)"),
        (("--all",), "(slow or not slow) and (gpu or not gpu)"),
    ],
)
def test_slow_tests_run_only_when_asked_for(
    machine: Machine, words: tuple[str, ...], marks: str
) -> None:
    machine.run("run_tests", *words)
    assert machine.programs()[-1].endswith(f"-m {marks}")
