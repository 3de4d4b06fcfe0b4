from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
import network
from tools import pack_dataset
from tools.benchmark import __main__ as benchmark
from tools.benchmark import models, pair
from tools.make_streets import __main__ as make_streets

ROOT = Path(benchmark.__file__).parents[2]

# name -> parameters in the published file and multiply-accumulates at 1024x2048, worked out from
# the layers' shapes of the published networks (convolutions only; 19 classes, without auxiliary
# heads).
EXPECTED = {
    "sfnet_resnet18": (12_869_715, 242_964_627_456),
    "sfnet_resnet50": (31_325_139, 663_317_643_264),
    "sfnet_resnet101": (50_317_267, 818_473_336_832),
    "sfnet_dfnetv1": (8_422_387, 32_726_384_640),
    "sfnet_dfnetv2": (17_876_467, 79_969_189_888),
    "sfnet_stdc1": (9_117_619, 59_436_564_480),
    "sfnet_stdc2": (13_148_083, 85_810_348_032),
    "sfnet_lite_resnet18": (12_296_074, 177_947_148_288),
    "sfnet_lite_stdc1": (9_709_162, 74_148_741_120),
    "sfnet_lite_stdc2": (13_739_626, 100_522_524_672),
}


@pytest.fixture(scope="module")
def costs() -> dict[str, models.Cost]:
    return {name: models.cost(name, (1024, 2048)) for name in network.names()}


@pytest.mark.parametrize("name", EXPECTED)
def test_parameters_and_macs_are_those_of_the_published_networks(
    costs: dict[str, models.Cost], name: str
) -> None:
    assert (costs[name].published_parameters, costs[name].macs) == EXPECTED[name]


def test_only_unused_parts_make_a_published_file_larger(costs: dict[str, models.Cost]) -> None:
    larger = {name for name, cost in costs.items() if cost.published_parameters != cost.parameters}
    assert larger == {name for name in network.names() if "stdc" in name} | {"sfnet_lite_resnet18"}


def test_the_table_of_networks_is_the_generated_one(costs: dict[str, models.Cost]) -> None:
    document = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert models.with_table(document, costs.values()) == document, \
        "renew it: python -m tools.benchmark models --doc docs/reference.md"


def test_counts_go_to_json_and_into_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "README.md"
    document.write_text(f"before\n{models.BEGIN}\nold\n{models.END}\nafter\n")
    flags = ["models", "--arch", "sfnet_dfnetv1", "--size", "64x128"]
    assert benchmark.main([*flags, "--json", str(tmp_path / "a.json"), "--doc", str(document)]) == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["size"] == [64, 128]
    assert found["models"][0]["parameters"] == 8_422_387
    assert "sfnet_dfnetv1" in capsys.readouterr().out
    lines = document.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    assert any(line.startswith("| `sfnet_dfnetv1` | 8.42 M |") for line in lines)


def test_a_document_without_the_tables_place_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text("nothing")
    assert benchmark.main(["models", "--arch", "sfnet_dfnetv1", "--size", "64",
                           "--doc", str(tmp_path / "a.md")]) == 2
    assert "the document has no place for the table" in capsys.readouterr().err


def test_an_unknown_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["models", "--arch", "sfnet_resnet19"]) == 2
    assert "unknown architecture 'sfnet_resnet19'; did you mean" in capsys.readouterr().err


def test_scoring_is_split_into_its_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.json"
    assert benchmark.main([
        "eval", "--size", "64x128", "--images", "2", "--crop_size", "48", "--scales",
        "0.5,1.0", "--flip", "--evaluateF", "--json", str(out),
    ]) == 0
    found = json.loads(out.read_text())
    assert list(found["seconds"]) == [
        "reading", "network", "resizing", "accumulation", "metric", "other",
    ]
    assert min(found["seconds"].values()) > 0
    assert 0 < found["overhead"] < 1
    assert found["peak_host_bytes"] > 1 << 26
    assert (found["images"], found["settings"]["size"], found["settings"]["flip"]) == (
        2, [64, 128], True,
    )
    assert "outside the network; peak memory" in capsys.readouterr().out


def test_training_is_timed_against_a_plain_loop_on_the_same_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_streets.main(
        ["--out", str(tmp_path), "--train", "4", "--val", "1", "--size", "64x128", "--workers", "1"]
    )
    capsys.readouterr()
    run = [
        "--arch", "sfnet_dfnetv1", "--pretrained", "none", "--data_root", str(tmp_path),
        "--crop_size", "64x128", "--ohem", "--fpn_dsn_loss", "--num_workers", "0",
    ]
    out = tmp_path / "a.json"
    assert benchmark.main(
        ["train", "--rounds", "2", "--steps", "1", "--json", str(out), "--", *run]
    ) == 0
    found = json.loads(out.read_text())
    own, plain = (found["rounds"][name] for name in ("train.py", "plain loop"))
    assert len(own) == len(plain) == 2 and min(own + plain) > 0
    ratios = sorted(one / other for one, other in zip(own, plain, strict=True))
    assert found["ratio"] == pytest.approx(sum(ratios) / 2)
    assert "plain loop" in capsys.readouterr().out


def test_two_settings_of_training_are_timed_and_taken_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_streets.main(
        ["--out", str(tmp_path), "--train", "4", "--val", "1", "--size", "64x128", "--workers", "1"]
    )
    run = [
        "--arch", "sfnet_dfnetv1", "--pretrained", "none", "--data_root", str(tmp_path),
        "--crop_size", "64", "--num_workers", "0", "--precision", "fp32",
    ]
    out = tmp_path / "a.json"
    against = "--against=--no_channels_last --bs_mult 4"
    assert benchmark.main(
        ["train", "--rounds", "1", "--steps", "1", against, "--json", str(out), "--", *run]
    ) == 0
    found = json.loads(out.read_text())
    assert set(found["rounds"]) == set(found["step"]) == {"train.py", "against"}
    assert set(found["step"]["train.py"]) == {
        "data", "prepare", "forward", "loss", "backward", "update",
    }
    assert min(found["step"]["train.py"].values()) > 0 and found["peak_memory_gb"] > 0
    assert "backward" in capsys.readouterr().out


def test_a_run_that_train_refuses_is_not_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["train", "--", "--pretrained", "none", "--data_root", "absent"]) == 2
    assert "absent is missing" in capsys.readouterr().err


def test_sampling_measures_the_shares_of_real_crops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tmp_path / "sampling.json"
    flags = [
        "--size", "64x128", "--maps", "3", "--crop_size", "32", "--draws", "12", "--entries", "7",
        "--passes", "4", "--class_uniform_pct", "0.7", "--num_workers", "0", "--json", str(found),
    ]
    assert benchmark.main(["sampling", *flags]) == 0
    said = capsys.readouterr().out
    assert (
        "labels of 64x128, tiles of 1024" in said
        and "with 7 labels" in said
        and "labels/s with 0 worker(s)" in said
    )
    shares = json.loads(found.read_text())
    for kind in ("without", "with"):
        assert sum(shares[kind]["pixels"]) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in shares[kind]["crops"])
    # 0.7 of three images
    assert sum(shares["draws"].values()) == 2
    assert shares["times"]["points_ms"] > 0 and shares["times"]["second_start_s"] < 1


def test_sampling_of_an_absent_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(
        ["sampling", "--dataset", "camvid", "--data_root", str(tmp_path / "absent")]
    ) == 2
    assert "absent is missing. Point --data_root at" in capsys.readouterr().err


def test_loading_is_measured_stage_by_stage_in_each_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, pack, out = tmp_path / "streets", tmp_path / "pack", tmp_path / "a.json"
    make_streets.main(
        ["--out", str(root), "--train", "4", "--val", "1", "--size", "64x128", "--workers", "1"]
    )
    data = ["--dataset", "streets", "--data_root", str(root)]
    assert pack_dataset.main([*data, "--out", str(pack), "--num_workers", "0"]) == 0
    flags = [
        *data, "--packed", str(pack), "--crop_size", "64", "--samples", "4", "--bs_mult", "2",
        "--batches", "2", "--num_workers", "0", "--step_ms", "3",
    ]
    assert benchmark.main(["loader", *flags, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [*found["ms"]] == [
        "files", "files, color on the device", "pack", "pack, color on the device",
    ]
    assert {
        "read and decode the image", "read and map the label", "ColorJitter", "collate",
        "whole sample",
    } <= {*found["ms"]["files"]}
    assert not {"ColorJitter", "GaussianBlur", "read and map the label"} & {
        *found["ms"]["pack, color on the device"]
    }
    assert all(time > 0 for way in found["ms"].values() for time in way.values())
    assert all(speed["0"] > 0 for speed in found["images_per_second"].values())
    assert all(0 < wait["0"]["3.0"] < 1 for wait in found["waits"].values())
    assert "waits, steps of 3 ms" in capsys.readouterr().out


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells what memory is a process's own"
)
def test_a_workers_memory_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_streets.main(
        ["--out", str(tmp_path), "--train", "4", "--val", "1", "--size", "64x128", "--workers", "1"]
    )
    flags = [
        "--dataset", "streets", "--data_root", str(tmp_path), "--crop_size", "64", "--samples", "2",
        "--num_workers", "0", "--batches", "1", "--memory", "400", "--json",
        str(tmp_path / "a.json"),
    ]
    assert benchmark.main(["loader", *flags]) == 0
    for amounts in json.loads((tmp_path / "a.json").read_text())["memory_mb"].values():
        assert [*amounts] == ["100 samples", "400 samples"]
        assert amounts["100 samples"] > 1 and amounts["400 samples"] - amounts["100 samples"] < 50


def test_the_pair_that_is_measured_has_as_many_bytes_as_a_frame_of_cityscapes(
    tmp_path: Path,
) -> None:
    image, label = pair.cityscapes_sized(None)
    pair.write_cityscapes(tmp_path, image, label, 1)
    data = datasets.build("cityscapes", tmp_path, "train")
    assert 2.0e6 <= data.samples[0].image.stat().st_size <= 2.6e6
    assert (data.read(0)[0] == image).all()
    noise = tmp_path / "noise.png"
    cv2.imwrite(
        str(noise), np.random.default_rng(0).integers(0, 256, (1024, 2048, 3), dtype=np.uint8)
    )
    with pytest.raises(
        ValueError, match=r"noise\.png: with noise of sigma 0\.00 its PNG has 6,.*another --picture"
    ):
        pair.cityscapes_sized(noise)
