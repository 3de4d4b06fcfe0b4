"""Every launcher under scripts/: its flags are parsed by the real parser, just as the shell hands them over."""

import argparse
import os
import re
import subprocess
from pathlib import Path

import pytest

import datasets
import eval as evaluation
import network
import train

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS = sorted((ROOT / "scripts/train").glob("*.sh"))
EVAL_LAUNCHERS = sorted((ROOT / "scripts/eval").glob("*.sh"))
RECORDER = "#!/bin/sh\nfor word; do echo \"$word\"; done\n"


@pytest.fixture
def recorder(tmp_path: Path) -> str:
    """A stand-in for Python that prints its arguments, one a line."""
    path = tmp_path / "python"
    path.write_text(RECORDER)
    path.chmod(0o755)
    return str(path)


def words(launcher: Path, recorder: str, *flags: str, processes: int = 1) -> list[str]:
    """What the launcher hands to Python."""
    env = {"PATH": os.environ["PATH"], "PYTHON": recorder, "NPROC": str(processes)}
    done = subprocess.run(["sh", str(launcher), *flags], env=env, cwd="/", capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def parsed(launcher: Path, recorder: str, *flags: str, processes: int = 1) -> argparse.Namespace:
    given = words(launcher, recorder, *flags, processes=processes)
    return train.build_parser().parse_args(given[given.index(str(ROOT / "train.py")) + 1:])


def test_there_is_a_launcher_for_each_dataset_and_network() -> None:
    expected = {f"train_{dataset}_sfnet_{network}.sh" for dataset in ("cityscapes", "camvid", "streets")
                for network in ("res18", "dfv1")}
    assert expected <= {launcher.name for launcher in LAUNCHERS}


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.stem)
class TestLauncher:
    def test_is_valid_posix_shell(self, launcher: Path) -> None:
        subprocess.run(["sh", "-n", str(launcher)], check=True)

    def test_first_comment_tells_the_expected_score(self, launcher: Path) -> None:
        comment = launcher.read_text().splitlines()[1]
        assert re.match(r"# Expected mIoU: .*\d+(\.\d+)? %", comment), comment

    def test_ends_in_the_callers_flags(self, launcher: Path) -> None:
        assert launcher.read_text().rstrip().endswith('"$@"')

    def test_real_parser_takes_its_flags(self, launcher: Path, recorder: str) -> None:
        args = parsed(launcher, recorder)
        _, dataset, rest = launcher.stem.split("_", 2)
        assert args.dataset == dataset
        assert args.exp == launcher.stem
        assert args.arch == {"sfnet_res18": "sfnet_resnet18", "sfnet_dfv1": "sfnet_dfnetv1"}[rest]

    def test_names_no_flag_twice_and_no_default(self, launcher: Path, recorder: str) -> None:
        parser = train.build_parser()
        given = [word.split("=")[0] for word in words(launcher, recorder) if word.startswith("--")]
        assert len(given) == len(set(given))
        defaults = {action.option_strings[0]: action.default for action in parser._actions if action.option_strings}
        args = vars(parsed(launcher, recorder))
        # what a launcher is about is said even where it happens to be the default
        spoken = {"--recipe", "--arch", "--dataset", "--data_root", "--ckpt", "--exp", "--bs_mult"}
        for flag in set(given) - spoken:
            action = parser._option_string_actions[flag]
            assert args[action.dest] != defaults[action.option_strings[0]], f"{flag} repeats the default"

    def test_callers_flags_win(self, launcher: Path, recorder: str) -> None:
        flags = ("--lr", "0.5", "--data_root", "elsewhere", "--exp", "mine", "--crop_size", "64x96")
        args = parsed(launcher, recorder, *flags)
        assert (args.lr, str(args.data_root), args.exp, tuple(args.crop_size)) == (0.5, "elsewhere", "mine", (64, 96))

    def test_several_processes_share_the_global_batch(self, launcher: Path, recorder: str) -> None:
        given = words(launcher, recorder, processes=4)
        assert given[:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "4"]
        args = train.build_parser().parse_args(given[given.index(str(ROOT / "train.py")) + 1:])
        assert args.recipe or args.global_batch % 4 == 0


@pytest.mark.parametrize("launcher", EVAL_LAUNCHERS, ids=lambda path: path.stem)
class TestEvalLauncher:
    def parsed(self, launcher: Path, recorder: str, *flags: str) -> argparse.Namespace:
        given = words(launcher, recorder, "--snapshot", "file.pth", *flags)
        return evaluation.build_parser().parse_args(given[given.index(str(ROOT / "eval.py")) + 1:])

    def test_is_valid_posix_shell_that_ends_in_the_callers_flags(self, launcher: Path) -> None:
        subprocess.run(["sh", "-n", str(launcher)], check=True)
        assert launcher.read_text().rstrip().endswith('"$@"')

    def test_real_parser_takes_its_flags(self, launcher: Path, recorder: str) -> None:
        args = self.parsed(launcher, recorder, "--data_root", "elsewhere")
        assert launcher.stem.startswith(f"eval_{args.dataset}_sfnet_")
        assert args.arch in network.names()
        assert args.split in datasets.spec(args.dataset).splits
        assert (str(args.snapshot), str(args.data_root)) == ("file.pth", "elsewhere")

    def test_first_comment_tells_score_tolerance_and_protocol(self, launcher: Path, recorder: str) -> None:
        args, comment = self.parsed(launcher, recorder), launcher.read_text().splitlines()[1]
        match = re.match(r"# Expected mIoU: (\d+\.\d) % on \w+ (\w+)(?:, give or take (\d\.\d))? (?:by its server )?"
                         r"\((.*); (whole images|windows), scale ([\d.,]+), (no flip|flip)\)\.$", comment)
        assert match, comment
        if match[3]:
            assert (args.expect, args.tolerance) == pytest.approx((float(match[1]) / 100, float(match[3]) / 100))
        else:
            assert args.expect is None and args.dump_images and args.split == "test"
        assert args.split == match[2]
        assert args.inference_mode == {"whole images": "whole", "windows": "sliding"}[match[5]]
        assert args.scales == tuple(float(scale) for scale in match[6].split(","))
        assert args.flip == (match[7] == "flip")

    def test_several_processes_share_the_images(self, launcher: Path, recorder: str) -> None:
        given = words(launcher, recorder, processes=4)
        assert given[:8] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "4",
                             "--max_restarts", "0", str(ROOT / "eval.py")]


def test_there_is_an_eval_launcher_for_each_published_score() -> None:
    expected = {f"eval_cityscapes_sfnet_{model}.sh" for model in
                ("res18", "res50", "res101", "dfv1", "dfv2", "lite_res18", "lite_stdc1", "lite_stdc2")}
    expected |= {f"eval_bdd100k_sfnet_{model}.sh" for model in ("res18", "dfv1", "dfv2")}
    assert expected <= {launcher.name for launcher in EVAL_LAUNCHERS}


@pytest.mark.parametrize("launcher", [path for path in LAUNCHERS if "camvid" in path.name], ids=lambda path: path.stem)
def test_camvid_chooses_nothing_on_test(launcher: Path, recorder: str) -> None:
    args = parsed(launcher, recorder)
    assert (args.train_split, args.val_split) == ("trainval", "none")


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.stem)
def test_script_is_valid_posix_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)


def arguments(recorder: str, script: str, *flags: str, **environment: str) -> list[str]:
    """What a script hands to Python in an environment of ours."""
    env = {"PATH": f"{Path(recorder).parent}:{os.environ['PATH']}", "PYTHON": recorder, "NPROC": "4", **environment}
    done = subprocess.run(["sh", str(ROOT / "scripts" / script), *flags], env=env, capture_output=True, text=True,
                          check=False)
    return done.stdout.splitlines() or done.stderr.splitlines()


def test_two_hosts_meet_where_they_are_told_to(recorder: str) -> None:
    found = arguments(recorder, "two_hosts_example.sh", "10.0.0.1", "--seed", "3", MAX_RESTARTS="2")
    assert found[:14] == ["-m", "torch.distributed.run", "--nnodes", "2", "--rdzv_backend", "c10d", "--rdzv_endpoint",
                          "10.0.0.1:29400", "--rdzv_id", "two_hosts", "--nproc_per_node", "4", "--max_restarts", "2"]
    args = train.build_parser().parse_args(found[15:])
    assert (args.exp, args.seed, args.timeout) == ("two_hosts", 3, 5.0)


def test_under_srun_the_hosts_of_the_step_meet_at_its_first(recorder: str, tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\nprintf 'node7\\nnode8\\n'\n")
    (tmp_path / "scontrol").chmod(0o755)
    found = arguments(recorder, f"train/{LAUNCHERS[0].name}", SLURM_STEP_NUM_NODES="2", SLURM_JOB_ID="123456",
                      SLURM_STEP_NODELIST="node[7-8]")
    assert found[2:10] == ["--nnodes", "2", "--rdzv_backend", "c10d", "--rdzv_endpoint", "node7:23456", "--rdzv_id",
                           "123456"]


def test_several_hosts_without_a_meeting_point_are_refused(recorder: str) -> None:
    assert "Set RDZV_ENDPOINT=HOST:PORT" in arguments(recorder, f"train/{LAUNCHERS[0].name}", NNODES="2")[0]


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
    done = subprocess.run(["sh", str(LAUNCHERS[0])], env={"PATH": os.environ["PATH"], "PYTHON": str(python)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot import torch" in done.stderr
    assert "quickstart.sh" in done.stderr


def test_flags_with_spaces_reach_python_whole(recorder: str) -> None:
    flags = ("--data_root", "/a folder/with $signs", "--exp", "two words")
    assert words(LAUNCHERS[0], recorder, *flags)[-4:] == list(flags)
