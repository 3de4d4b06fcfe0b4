from __future__ import annotations

import json
import time
from argparse import ArgumentTypeError
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import datasets
import network
from network.checkpoints.weights import published_state_dict
from tools.benchmark import __main__ as benchmark
from tools.benchmark import infer

SMALL = ["infer", "--size", "64x96", "--rounds", "2", "--warm_up", "1"]


def options_of(*flags: str) -> infer.Options:
    args = benchmark.build_parser().parse_args([*SMALL, "--arch", "sfnet_dfnetv1", *flags])
    return infer.Options.from_args(args)


def test_settings_are_timed_against_the_plain_network(tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.json"
    flags = [*SMALL, "--arch", "sfnet_dfnetv1", "sfnet_stdc1", "--settings", "fp32", "bf16",
             "--no_memory"]
    assert benchmark.main([*flags, "--json", str(out)]) == 0
    said, found = capsys.readouterr().out, json.loads(out.read_text())
    for line in ("inside           network, resizing to the image, arg max",
                 "rounds           2, networks and settings interleaved",
                 "normalization    folded into convolutions, but for plain",
                 "host copies      outside: float images"):
        assert line in said
    assert [(row["network"], row["setting"]) for row in found["rows"]] == [
        (name, each)
        for name in ("sfnet_dfnetv1", "sfnet_stdc1")
        for each in ("plain", "fp32", "bf16")
    ]
    for row in found["rows"]:
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["images_per_second"] == pytest.approx(1000 / row["p50_ms"])
    plain, exact, half = found["rows"][:3]
    assert plain["times_plain"] == 1 and plain["equal_labels"] == 1 and plain["largest_gap"] == 0
    assert exact["largest_gap"] < 1e-5 and half["largest_gap"] < 0.1
    assert exact["times_plain"] == pytest.approx(plain["p50_ms"] / exact["p50_ms"])
    assert exact["equal_labels"] > 0.999 and half["equal_labels"] > 0.8
    flags = ("precision", "normalization_folded", "channels_last", "compiled", "cuda_graphs")
    assert [plain[flag] for flag in flags] == ["fp32", False, False, False, False]
    assert [half[flag] for flag in flags] == ["bf16", True, True, False, False]
    assert {"device", "clock", "batch", "size", "warm-up", "synchronized", "inside",
            "host copies"} <= set(found["protocol"])


def test_trained_networks_are_compared_on_real_pictures_from_bytes_to_labels(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = datasets.spec("camvid")
    torch.save({"arch": "sfnet_dfnetv1", "dataset": "camvid", "classes": list(spec.names),
                "state_dict": published_state_dict(network.build("sfnet_dfnetv1",
                                                                 spec.num_classes))},
               tmp_path / "a.pth")
    cv2.imwrite(str(tmp_path / "a.png"),
                np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8))
    flags = ["--snapshot", str(tmp_path / "a.pth"), "--pictures", str(tmp_path / "a.png"),
             "--host_copies"]
    assert benchmark.main([*SMALL, *flags, "--settings", "fp32", "--batch", "2",
                           "--no_memory"]) == 0
    said = capsys.readouterr().out
    assert "inside: bytes from the host, labels to it" in said
    assert "sfnet_dfnetv1          fp32" in said


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(),
                    reason="only Linux tells a process's peak")
def test_a_predictions_memory_is_its_own() -> None:
    options = options_of("--size", "512x1024")
    used, process = infer.peak(options, 0, infer.Setting("plain"), torch.get_num_threads())
    assert used is not None and process is not None
    # the full-size float32 logits are among it
    assert 4 * 19 * 512 * 1024 < used < process


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own(capsys: pytest.CaptureFixture[str],
                                                      tmp_path: Path) -> None:
    flags = ["--arch", "sfnet_dfnetv1", "--settings", "bf16", "--json", str(tmp_path / "a.json"),
             "--size", "512x1024"]
    assert benchmark.main([*SMALL, *flags]) == 0
    plain, half = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert half["memory"] < 0.6 * plain["memory"]


@pytest.mark.parametrize("wrong", ["fast", "plain+compile", "bf16+magic"])
def test_an_unknown_setting_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["infer", "--settings", wrong])
    message = f"{wrong!r} is not a setting: give plain, or fp32, bf16, fp16, tf32 with or without +"
    assert message + "compile" in capsys.readouterr().err


def test_exact_settings_alone_can_be_asked_for(monkeypatch: pytest.MonkeyPatch,
                                               tmp_path: Path) -> None:
    # not compiled: that takes minutes
    monkeypatch.setattr(infer, "EXACT", ("fp32",))
    out = tmp_path / "a.json"
    assert benchmark.main([*SMALL, "--arch", "sfnet_dfnetv1", "--exact", "--no_memory", "--json",
                           str(out)]) == 0
    assert [row["setting"] for row in json.loads(out.read_text())["rows"]] == ["plain", "fp32"]
    with pytest.raises(SystemExit):
        benchmark.main([*SMALL, "--exact", "--settings", "bf16"])


def test_float32_is_rounded_to_tf32_only_where_a_row_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, bool]] = []
    options = options_of()
    settings = [infer.Setting(name) for name in ("plain", "fp32", "tf32", "bf16")]
    now: list[bool] = []
    monkeypatch.setattr(infer.precision, "configure", lambda tf32, deterministic: now.append(tf32))
    monkeypatch.setattr(
        infer.Setting, "build",
        lambda self, subject, device, host_copies: (
            lambda images: (seen.append((self.name, now[-1])), torch.zeros(1, 64, 96))[1]
        ),
    )
    infer.measure(options, [infer.load(options, 0)], settings, torch.device("cpu"))
    assert set(seen) == {("plain", False), ("fp32", False), ("tf32", True), ("bf16", False)}
    # warm-up, rounds, comparison
    assert len(seen) == 4 * (1 + 2 + 1)


@pytest.mark.parametrize(("flags", "turns"),
                         [([], ["plain stdc1", "fp32 stdc1", "plain stdc2", "fp32 stdc2"] * 2),
                          (["--no_interleave_networks"],
                           ["plain stdc1", "fp32 stdc1"] * 2 + ["plain stdc2", "fp32 stdc2"] * 2)])
def test_networks_are_taken_in_turn_unless_they_do_not_fit_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: list[str], turns: list[str]
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        infer.Timing, "take",
        lambda self, turn, device, seconds: (
            seen.append(f"{self.setting.name} {self.subject.name.removeprefix('sfnet_')}"),
            self.seconds.append(1),
        )[1],
    )
    assert benchmark.main([*SMALL, "--arch", "sfnet_stdc1", "sfnet_stdc2", "--settings", "fp32",
                           "--no_memory", *flags, "--json", str(tmp_path / "a.json")]) == 0
    assert seen == turns
    assert [row["network"] for row in json.loads((tmp_path / "a.json").read_text())["rows"]] == [
        *["sfnet_stdc1"] * 2, *["sfnet_stdc2"] * 2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has TF32")
def test_tf32_without_a_gpu_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([*SMALL, "--arch", "sfnet_dfnetv1", "--settings", "tf32",
                           "--no_memory"]) == 2
    assert "tf32 is a GPU's, but this runs on cpu" in capsys.readouterr().err


def test_what_the_machine_cannot_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([*SMALL, "--arch", "sfnet_dfnetv1", "--settings", "fp32+graphs",
                           "--no_memory"]) == (0 if torch.cuda.is_available() else 2)
    if not torch.cuda.is_available():
        assert "CUDA graphs need a CUDA device" in capsys.readouterr().err


def test_a_setting_names_a_runtime_or_a_file_of_one() -> None:
    assert infer.parse_setting("bf16+openvino").runtime == "openvino"
    assert infer.parse_setting("fp32+compile").runtime is None
    assert infer.parse_setting("openvino:net.xml").facts()["precision"] == "the file's"
    assert infer.parse_setting("bf16+openvino").facts()["channels_last"] is False
    with pytest.raises(ArgumentTypeError, match="is not a setting"):
        infer.parse_setting("bf16+tensorrt")


def test_the_backends_that_were_asked_for_are_measured_by_default() -> None:
    cpu = torch.device("cpu")
    chosen = options_of("--backend", "openvino").all_settings(cpu)
    assert [setting.name for setting in chosen] == ["plain", "fp32+openvino", "bf16+openvino"]
    # on a GPU, where building them raises an error
    on_gpu = options_of("--backend", "openvino").all_settings(torch.device("cuda"))
    assert on_gpu == chosen
    chosen = options_of("--exact", "--backend", "torch", "onnxruntime").all_settings(cpu)
    assert [setting.name for setting in chosen] == ["plain", "fp32", "fp32+compile",
                                                    "fp32+onnxruntime"]


def test_runtimes_which_a_network_is_converted_for_are_measured_only_if_asked_for() -> None:
    chosen = options_of().all_settings(torch.device("cpu"))
    assert len(chosen) > 1 and not any(setting.runtime for setting in chosen)


def test_a_runtime_that_differs_from_torch_is_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table shows its difference."""
    def wrong(images: torch.Tensor) -> torch.Tensor:
        return torch.rand(1, 19, 8, 12)

    monkeypatch.setattr(infer.runtimes, "build",
                        lambda *args, **keywords: infer.runtimes.Runtime("openvino", "1", wrong))
    labels = infer.Setting("fp32+openvino").build(infer.load(options_of(), 0), torch.device("cpu"),
                                                  host_copies=False)
    assert labels(torch.zeros(1, 3, 64, 96)).shape == (1, 64, 96)


def test_backends_beside_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--backend would be ignored with --settings"):
        options_of("--settings", "fp32", "--backend", "openvino")


def test_the_time_of_the_process_leaves_out_that_of_its_neighbors() -> None:
    def wait(images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.2)
        return images

    timing = infer.Timing(infer.load(options_of(), 0), infer.Setting("plain"), wait,
                          [torch.zeros(1, 3, 2, 2)])
    for seconds in (time.process_time, time.perf_counter):
        timing.take(0, torch.device("cpu"), seconds)
    assert timing.seconds[0] < 0.1 < timing.seconds[1]
