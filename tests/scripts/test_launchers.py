"""Every launcher in scripts/: the real parsers accept its flags as the shell passes them."""

import argparse
import json
import os
import re
import shutil
import subprocess
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

import datasets
import eval as evaluation
import train
from utils.evaluation.inference import InferenceOptions
from utils.training.run_folder import PROTOCOL

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS = sorted((ROOT / "scripts/train").glob("*.sh"))
EVAL_LAUNCHERS = sorted((ROOT / "scripts/eval").glob("*.sh"))
Handed = Callable[[Path], list[str]]
# The flags that every launcher trains with: `defaults`, and by launcher the values that differ from
# them. The folder of the checkout stands as ROOT. Left out: --recipe, which only names where values
# come from, and --num_workers, whose default depends on the machine.
EFFECTIVE_FLAGS = json.loads(
    (Path(__file__).parent / "effective_flags.json").read_text(encoding="utf-8")
)
NAME = re.compile(
    rf"(?:train|eval)_(?P<dataset>{'|'.join(sorted(datasets.names(), key=len, reverse=True))})"
    r"_(?P<model>sfnet(?:_lite)?_(?:res|dfv|stdc|efflite)\d+)(?P<variant>_\w+)?"
)


def parse(flags: list[str]) -> Namespace:
    """The effective flags of train.py."""
    return Namespace(**train.parse(flags).flags)


def named(launcher: Path) -> tuple[str, str]:
    """The dataset and the architecture that a launcher's name tells."""
    match = NAME.fullmatch(launcher.stem)
    assert match, f"{launcher.name} is no train_DATASET_MODEL[_VARIANT].sh"
    model = match["model"].replace("_res", "_resnet").replace("_dfv", "_dfnetv")
    return match["dataset"], model.replace("_efflite", "_timm:tf_efficientnet_lite")


def words(launcher: Path, recorder: str, *flags: str, processes: int = 1) -> list[str]:
    """What the launcher hands to Python."""
    env = {"PATH": os.environ["PATH"], "PYTHON": recorder, "NPROC": str(processes)}
    done = subprocess.run(
        ["sh", str(launcher), *flags], env=env, cwd="/", capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_run_knows_its_launcher(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$SFSEGNETS_LAUNCHER"\n')
    python.chmod(0o755)
    assert words(LAUNCHERS[0], str(python)) == [LAUNCHERS[0].stem]
    assert words(EVAL_LAUNCHERS[0], str(python)) == [""]


def test_there_is_an_eval_launcher_for_each_run() -> None:
    assert [path.stem.removeprefix("eval_") for path in EVAL_LAUNCHERS] == [
        path.stem.removeprefix("train_") for path in LAUNCHERS
    ]


def test_there_is_a_launcher_for_each_network_of_the_papers_on_cityscapes() -> None:
    models = {
        f"sfnet_{backbone}"
        for backbone in ("res18", "res50", "res101", "dfv1", "dfv2", "stdc1", "stdc2")
    }
    models |= {f"sfnet_lite_{backbone}" for backbone in ("res18", "stdc1", "stdc2")}
    assert {f"train_cityscapes_{model}" for model in models} <= {path.stem for path in LAUNCHERS}


def test_there_is_a_launcher_for_each_dataset() -> None:
    # networks of Cityscapes are scored on ACDC
    without = {"idd26", "acdc"}
    assert {named(launcher)[0] for launcher in LAUNCHERS} == set(datasets.names()) - without


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.stem)
class TestLauncher:
    def test_first_comment_tells_the_expected_score(self, launcher: Path, handed: Handed) -> None:
        args, comment = parse(handed(launcher)), launcher.read_text().splitlines()[1]
        match = re.match(
            r"# Expected mIoU: (\d+\.\d %|not known) on \w[\w -]*? (val|test)"
            r"(?: by its server)? \(.+\)\.$",
            comment,
        )
        assert match, comment
        # what is reported of test is trained on train and val, and chooses no checkpoint by it
        assert (args.train_split, args.val_split) in {
            # the second: nothing is chosen on val either
            "val": [("train", "val"), ("train", "none")],
            "test": [("trainval", "none")],
        }[match[2]]

    def test_ends_in_the_callers_flags(self, launcher: Path) -> None:
        assert launcher.read_text().endswith('"$@"\n')

    def test_real_parser_takes_its_flags(self, launcher: Path, handed: Handed) -> None:
        args = train.build_parser().parse_args(handed(launcher))
        assert (args.dataset, args.arch) == named(launcher)
        assert (args.ckpt, args.exp) == (str(ROOT / "logs"), launcher.stem)
        assert Path(args.data_root).parent == ROOT / "data"

    def test_names_no_flag_twice_and_only_departures(self, launcher: Path, handed: Handed) -> None:
        parser, words = train.build_parser(), handed(launcher)
        given = [word for word in words if word.startswith("--")]
        assert len(given) == len(set(given))
        # what a launcher is about is said even where it happens to be the default
        spoken = {"--recipe", "--arch", "--dataset", "--data_root", "--ckpt", "--exp"}
        args = parser.parse_args(words)
        base = parse(
            [
                f"--{name}={vars(args)[name]}"
                for name in ("recipe", "arch", "dataset")
                if vars(args)[name]
            ]
        )
        for flag in set(given) - spoken:
            name = parser._option_string_actions[flag].dest
            assert vars(args)[name] != vars(base)[name], (
                f"{flag} repeats what it would be without it"
            )

    def test_trains_with_the_recorded_flags(self, launcher: Path, handed: Handed) -> None:
        """A change of a recipe or of a default must not change a run without being noticed."""
        expected = EFFECTIVE_FLAGS["defaults"] | EFFECTIVE_FLAGS[launcher.stem]
        args = json.loads(json.dumps(vars(parse(handed(launcher)))).replace(str(ROOT), "ROOT"))
        assert {name: args[name] for name in expected} == expected

    def test_several_processes_can_share_its_batch(self, launcher: Path, handed: Handed) -> None:
        assert parse(handed(launcher)).global_batch % 4 == 0


def test_every_flag_of_a_training_is_recorded() -> None:
    assert vars(parse([])).keys() - EFFECTIVE_FLAGS["defaults"].keys() == {"recipe", "num_workers"}


def test_there_is_a_launcher_of_the_recipe_modern_for_each_backbone() -> None:
    models = {path.stem for path in LAUNCHERS if path.stem.startswith("train_cityscapes_sfnet_")}
    backbones = {re.split("_(?:sfnet_lite|sfnet)_", model)[1].split("_")[0] for model in models}
    modern = {f"train_camvid_sfnet_{backbone}_modern" for backbone in backbones}
    assert len(modern) == 8 and modern <= {path.stem for path in LAUNCHERS}


@pytest.mark.parametrize("launcher", EVAL_LAUNCHERS, ids=lambda path: path.stem)
class TestEvalLauncher:
    def test_ends_in_the_callers_flags(self, launcher: Path) -> None:
        assert launcher.read_text().endswith('"$@"\n')

    def test_real_parser_takes_its_flags(self, launcher: Path, handed: Handed) -> None:
        args = evaluation.build_parser().parse_args(handed(launcher))
        assert (args.dataset, args.arch) == named(launcher)
        assert args.split in datasets.spec(args.dataset).splits

    def test_the_end_of_its_run_names_its_protocol(self, launcher: Path, handed: Handed) -> None:
        flags = " ".join(["--snapshot FILE", *PROTOCOL.findall(launcher.read_text())])
        parser = evaluation.build_parser()
        told, own = (InferenceOptions.from_args(parser.parse_args(given))
                     for given in (flags.split(), handed(launcher)))
        assert told == own

    def test_scores_what_its_run_writes(self, launcher: Path, handed: Handed) -> None:
        args = evaluation.build_parser().parse_args(handed(launcher))
        run = launcher.stem.replace("eval_", "train_", 1)
        trained = parse(handed(ROOT / f"scripts/train/{run}.sh"))
        assert args.data_root == trained.data_root
        # the scenes of the quick start, whose folder it names
        if trained.dataset == "streets":
            assert args.snapshot.name == "last.pth"
        else:
            file = "last.pth" if trained.val_split == "none" else "best.pth"
            assert args.snapshot == ROOT / "logs" / run / file

    def test_first_comment_tells_score_tolerance_and_protocol(
        self, launcher: Path, handed: Handed
    ) -> None:
        args = evaluation.build_parser().parse_args(handed(launcher))
        comment = "\n".join(launcher.read_text().splitlines()[1:3])
        match = re.match(
            r"# Expected mIoU: (\d+\.\d %|not known) on \w[\w -]*? (val|test)"
            r"(?:, give or take (\d\.\d))?( by its server)? \((.+)\)\.\n"
            r"# Protocol: (whole images|windows), scale ([\d.,]+), (no flip|flip)\.$",
            comment,
        )
        assert match, comment
        if match[3]:
            score = float(match[1].removesuffix(" %"))
            assert (args.expect, args.tolerance) == pytest.approx(
                (score / 100, float(match[3]) / 100)
            )
        else:
            assert args.expect is None
        unlabeled = args.split in datasets.spec(args.dataset).unlabeled
        assert args.dump_images == unlabeled == bool(match[4])
        assert args.split == match[2]
        assert args.inference_mode == {"whole images": "whole", "windows": "sliding"}[match[6]]
        assert args.scales == tuple(float(scale) for scale in match[7].split(","))
        assert args.flip == (match[8] == "flip")


@pytest.mark.parametrize("program", ["train", "eval"])
def test_several_processes_are_started_by_torchrun(program: str, recorder: str) -> None:
    given = words(
        ROOT / f"scripts/{program}/{program}_cityscapes_sfnet_res18.sh", recorder, processes=4
    )
    assert given[:7] == [
        str(ROOT / "utils/torchrun.py"),
        "--standalone",
        "--nproc_per_node",
        "4",
        "--max_restarts",
        "0",
        str(ROOT / f"{program}.py"),
    ]


@pytest.mark.parametrize(
    "launcher",
    [path for path in LAUNCHERS if '--snapshot "$ROOT' in path.read_text()],
    ids=lambda path: path.stem,
)
def test_a_second_stage_starts_from_what_the_first_writes(launcher: Path, handed: Handed) -> None:
    second = train.build_parser().parse_args(handed(launcher))
    folder = Path(second.snapshot).parent
    stage = ROOT / f"scripts/train/{folder.name}.sh"
    first = train.build_parser().parse_args(handed(stage))
    assert folder == Path(first.ckpt) / first.exp and stage.name in launcher.read_text()
    # without a validation there is no best.pth
    file = "last.pth" if first.val_split == "none" else "best.pth"
    assert Path(second.snapshot).name == file
    assert (first.arch, first.fpn_dsn_loss) == (second.arch, second.fpn_dsn_loss)
    assert second.reset_classifier == (first.dataset != second.dataset)
    seconds = re.findall(r"scripts/train/(\w+)\.sh", stage.read_text())
    assert any(
        f"logs/{stage.stem}/" in (ROOT / f"scripts/train/{name}.sh").read_text()
        for name in seconds
    )


class Stages:
    """A checkout with scripts only, in which scripts/in_stages.sh runs with a stub for Python."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        self.python, self.calls = folder / "python", folder / "calls"
        self.python.write_text(
            f'#!/bin/sh\necho "$*" >>"{self.calls}"\ncase "$*" in *"$FAILS"*) exit 75;; esac\n'
        )
        self.python.chmod(0o755)

    def run(self, *words: str, fails: str = "nothing") -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "PYTHON": str(self.python), "NPROC": "1", "FAILS": fails}
        return subprocess.run(
            ["sh", str(self.root / "scripts/in_stages.sh"), *words],
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    def trained(self) -> list[argparse.Namespace]:
        """The flags of each training, oldest first."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        heads = [line.replace(str(self.root), "ROOT").split() for line in lines]
        return [train.build_parser().parse_args(head[1:]) for head in heads]


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(tmp_path)


BOTH = ("mapillary_sfnet_res18", "cityscapes_sfnet_res18_mapillary")


def test_stages_run_in_turn_with_the_callers_flags(stages: Stages) -> None:
    assert stages.run(*BOTH, "--", "--bs_mult", "2").returncode == 0
    assert [(args.exp, args.bs_mult, args.resume) for args in stages.trained()] == [
        (f"train_{stage}", 2, None) for stage in BOTH
    ]


def test_a_stage_that_stops_ends_the_chain_with_its_status(stages: Stages) -> None:
    assert stages.run(*BOTH, fails="mapillary").returncode == 75
    assert [args.exp for args in stages.trained()] == ["train_mapillary_sfnet_res18"]


def test_the_same_command_goes_on_with_the_stage_that_was_begun(stages: Stages) -> None:
    begun = stages.root / f"logs/train_{BOTH[0]}"
    begun.mkdir(parents=True)
    (begun / "args.json").touch()
    assert stages.run(*BOTH).returncode == 0
    assert [args.resume for args in stages.trained()] == [f"ROOT/logs/train_{BOTH[0]}", None]


@pytest.mark.parametrize(
    "wrong",
    [
        ("mapillary_sfnet_res17",),
        (BOTH[0], "--bs_mult", "2"),
        (),
        ("--", "--lr", "1"),
        (*BOTH, "--", "--exp", "x"),
        (*BOTH, "--", "--ckpt=/scratch"),
    ],
)
def test_stages_without_a_launcher_are_refused_before_any_work(
    stages: Stages, wrong: tuple[str, ...]
) -> None:
    done = stages.run(*wrong)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert stages.trained() == []


@pytest.mark.parametrize(
    "script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.stem
)
def test_script_is_valid_posix_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)


def arguments(recorder: str, script: str, *flags: str, **environment: str) -> list[str]:
    """What a script hands to Python in an environment of ours."""
    env = {"PATH": os.environ["PATH"], "PYTHON": recorder, "NPROC": "4", **environment}
    done = subprocess.run(
        ["sh", str(ROOT / "scripts" / script), *flags],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines() or done.stderr.splitlines()


def test_two_hosts_meet_where_they_are_told_to(recorder: str) -> None:
    found = arguments(recorder, "two_hosts_example.sh", "10.0.0.1", "--seed", "3", MAX_RESTARTS="2")
    assert found[:13] == [
        str(ROOT / "utils/torchrun.py"),
        "--nnodes",
        "2",
        "--rdzv_backend",
        "c10d",
        "--rdzv_endpoint",
        "10.0.0.1:29400",
        "--rdzv_id",
        "two_hosts",
        "--nproc_per_node",
        "4",
        "--max_restarts",
        "2",
    ]
    args = train.build_parser().parse_args(found[14:])
    assert (args.exp, args.seed, args.timeout) == ("two_hosts", 3, 5.0)


def test_under_srun_the_hosts_of_the_step_meet_at_its_first(recorder: str, tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\nprintf 'node7\\nnode8\\n'\n")
    (tmp_path / "scontrol").chmod(0o755)
    found = arguments(
        recorder,
        f"train/{LAUNCHERS[0].name}",
        SLURM_STEP_NUM_NODES="2",
        SLURM_JOB_ID="123456",
        SLURM_STEP_NODELIST="node[7-8]",
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )
    assert found[1:9] == [
        "--nnodes",
        "2",
        "--rdzv_backend",
        "c10d",
        "--rdzv_endpoint",
        "node7:23456",
        "--rdzv_id",
        "123456",
    ]


def test_several_hosts_without_a_meeting_point_are_refused(recorder: str) -> None:
    assert (
        "Set RDZV_ENDPOINT=HOST:PORT"
        in arguments(recorder, f"train/{LAUNCHERS[0].name}", NNODES="2")[0]
    )


def test_an_unknown_argument_of_run_tests_is_refused() -> None:
    command = ["sh", str(ROOT / "scripts/run_tests.sh"), "--al"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--al" in done.stderr
    assert "[--all]" in done.stderr


def test_a_python_without_torch_is_told_how_to_get_it(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["sh", str(LAUNCHERS[0])],
        env={"PATH": os.environ["PATH"], "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot import torch" in done.stderr
    assert "quickstart.sh" in done.stderr


def test_flags_with_spaces_reach_python_whole(recorder: str) -> None:
    flags = ("--data_root", "/a folder/with $signs", "--exp", "two words")
    assert words(LAUNCHERS[0], recorder, *flags)[-4:] == list(flags)
