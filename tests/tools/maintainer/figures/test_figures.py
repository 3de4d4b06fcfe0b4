"""Every figure is drawn from small inputs, and those that are committed exist and are shown."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
import yaml

import datasets
import network
from network.checkpoints.weights import published_state_dict
from tests.tools.conftest import keep_run
from tools.maintainer.figures import __main__ as figures
from tools.maintainer.figures import flow, schedules, sfnet_res, sources, style

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[4]
LABELS = ("fpn_dfnetv1", "sfnet_dfnetv1")
PUBLISHED = {
    "cost": [
        {
            "family": "SFNet", "name": "R18", "gmacs": 243, "miou": 79, "imagenet": True,
            "source": "a README",
        },
        {
            "family": "Other", "name": "S", "gmacs": 100, "miou": 80, "imagenet": False,
            "source": "a README",
        },
    ],
    "speed": [
        {
            "device": "a card",
            "points": [
                {
                    "family": "SFNet-Lite", "name": "R18", "fps": 60, "miou": 80.1,
                    "at": "upper left", "source": "a paper",
                }
            ],
        }
    ],
}


class Drawn(NamedTuple):
    sources: Path
    out: Path


def record(folder: Path, arch: str = "sfnet_dfnetv1") -> tuple[Path, Path]:
    """Writes a snapshot with random weights and a picture; returns their paths."""
    torch.manual_seed(0)
    net = network.build(arch, 11)
    torch.nn.init.normal_(net.head.conv_last[1].weight, std=1.0)
    snapshot, picture = folder / f"{arch}.pth", folder / "frame.png"
    torch.save({"arch": arch, "dataset": "camvid", "classes": list(datasets.spec("camvid").names),
                "state_dict": published_state_dict(net), "ema": None}, snapshot)
    pixels = (
        np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    )
    cv2.imwrite(str(picture), pixels)
    return snapshot, picture


def add_study(docs: Path) -> None:
    study = docs / "runs" / "camvid_pair"
    study.mkdir(parents=True)
    (study / "study.yaml").write_text(
        yaml.safe_dump({
            "title": "Does it help?", "place": 1, "question": "Does it?",
            "rows": dict.fromkeys(LABELS, "a row"),
        })
    )
    for label in LABELS:
        for seed in range(2):
            keep_run(study, label, seed, 0.6 + 0.1 * seed, arch=label)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """All figures, drawn from small inputs."""
    docs = tmp_path_factory.mktemp("docs")
    sources, out = docs / "figures", docs / "figs"
    snapshot, picture = record(docs)
    assert figures.main(
        ["--record", str(snapshot), "--image", str(picture), "--sources", str(sources)]
    ) == 0
    add_study(docs)
    shares = {"pixels": [1 / 11] * 11, "crops": [0.5] * 11}
    inputs = {
        "speed_dfnetv1.json": {
            "rows": [
                {"network": label, "setting": "bf16", "images_per_second": 50} for label in LABELS
            ]
        },
        "class_uniform.json": {
            "without": shares, "with": shares,
            "settings": {"dataset": "camvid", "class_uniform_pct": 0.5, "crop_size": [180, 240]},
        },
        "published.yaml": PUBLISHED,
    }
    for name, content in inputs.items():
        (sources / name).write_text(json.dumps(content))
    assert figures.main(["--sources", str(sources), "--out", str(out)]) == 0
    return Drawn(sources, out)


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_drawn_for_light_and_dark_pages(drawn: Drawn, name: str) -> None:
    light, dark = (
        cv2.imread(str(drawn.out / f"{name}{theme.suffix}.png"))[..., ::-1]
        for theme in style.THEMES
    )
    assert light.shape == dark.shape and light.shape[1] == style.WIDTH * style.DPI
    for picture, theme in ((light, style.LIGHT), (dark, style.DARK)):
        page = [int(theme.page[i:i + 2], 16) for i in (1, 3, 5)]
        assert (picture[0, 0] == page).all() and picture.std() > 5
    assert (light != dark).any()


def test_drawing_again_gives_the_same_bytes(drawn: Drawn, tmp_path: Path) -> None:
    assert figures.main(
        ["class_uniform", "--sources", str(drawn.sources), "--out", str(tmp_path)]
    ) == 0
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (drawn.out / path.name).read_bytes()
        # no version and no date
        assert not re.search(rb"(tEXt|iTXt|tIME)", path.read_bytes())


def test_what_is_missing_is_named_with_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name in figures.FIGURES if name not in ("sfnets", "schedules")]
    assert figures.main(
        [*names, "--sources", str(tmp_path / "figures"), "--out", str(tmp_path)]
    ) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(names)
    for name, line in zip(names, said, strict=True):
        assert line.startswith(f"tools.maintainer.figures: error: {name}: {tmp_path}")
    assert "published.yaml is missing" in said[0]
    assert (
        "image.png is missing: record it with `python -m tools.maintainer.figures --record"
        in said[1]
    )
    assert (
        "class_uniform.json is missing: make it with `python -m tools.benchmark sampling" in said[2]
    )
    assert not list(tmp_path.glob("*.png"))


def test_a_figure_of_runs_without_runs_is_refused(tmp_path: Path) -> None:
    message = "there is no run: keep some with `python -m tools.maintainer.results --add"
    with pytest.raises(FileNotFoundError, match=message):
        sources.studies_with_runs(tmp_path / "figures", ["camvid_pair"])


def test_networks_without_a_measured_speed_are_named(drawn: Drawn) -> None:
    assert sfnet_res.read_speeds(drawn.sources, [*LABELS]) == dict.fromkeys(LABELS, 50)
    with pytest.raises(
        ValueError,
        match=r"tell no speed of fpn_x, sfnet_x: measure with .* logs/fpn_x_s0/last.pth ",
    ):
        sfnet_res.read_speeds(drawn.sources, [*LABELS, "fpn_x", "sfnet_x"])


def test_a_published_row_without_its_source_is_refused(tmp_path: Path) -> None:
    row = {"family": "SFNet", "name": "R18", "gmacs": 243, "miou": 79, "imagenet": True}
    (tmp_path / "published.yaml").write_text(json.dumps({**PUBLISHED, "cost": [row]}))
    with pytest.raises(ValueError, match="lacks an entry"):
        sfnet_res.read_published(tmp_path / "published.yaml")


@pytest.mark.parametrize(("words", "message"), [
    (["sfnet_ress"], r"no figure 'sfnet_ress', did you mean 'sfnet_res'"),
    (["--record", "x.pth"], "--record SNAPSHOT and --image FILE go together"),
    (["--record", "absent.pth", "--image", "absent.png"], "absent.pth")])
def test_mistakes_are_told_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figures.main(words) == 2
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1


def test_the_record_holds_the_image_and_what_the_network_made_of_it(drawn: Drawn) -> None:
    seen = flow.read(drawn.sources / "flow")
    assert seen.labels.shape == (96, 128) and seen.labels.max() < 11
    # strides 32 and 16
    assert [field.shape for field in seen.flows.values()] == [(2, 3, 4), (2, 6, 8)]
    assert max(abs(field).max() for field in seen.flows.values()) > 0
    assert len(seen.about["snapshot_sha256"]) == 64 and seen.about["arch"] == "sfnet_dfnetv1"
    assert {path.name for path in (drawn.sources / "flow").iterdir()} == {
        "about.json", "flows.npz", "image.png", "prediction.png",
    }
    assert seen.image.shape == (96, 128, 3)


def test_kept_flows_that_are_damaged_are_named(tmp_path: Path) -> None:
    for name in ("image.png", "prediction.png"):
        (tmp_path / name).touch()
    (tmp_path / "flows.npz").write_bytes(b"PK\x03\x04cut")
    with pytest.raises(ValueError, match=r"flows.npz is damaged .*record it with"):
        flow.read(tmp_path)


def test_a_network_without_flow_is_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot, picture = record(tmp_path, "fpn_dfnetv1")
    assert figures.main(
        ["--record", str(snapshot), "--image", str(picture), "--sources", str(tmp_path)]
    ) == 2
    assert (
        "fpn_dfnetv1 has no flow alignment: give a snapshot of an SFNet" in capsys.readouterr().err
    )


def test_the_drawn_rates_are_an_optimizers() -> None:
    found = schedules.rates(lr_schedule="poly", poly_exp=1.0)
    steps = schedules.EPOCHS * schedules.STEPS_PER_EPOCH
    assert found == pytest.approx([1 - step / steps for step in range(steps)])


def documents() -> str:
    """The text of all documents."""
    return "".join(
        path.read_text(encoding="utf-8")
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    )


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_committed_figure_is_shown_in_a_document_in_both_looks(name: str) -> None:
    for theme in style.THEMES:
        assert (ROOT / "figs" / f"{name}{theme.suffix}.png").is_file()
        assert f"figs/{name}{theme.suffix}.png" in documents()


def test_published_costs_are_those_that_are_counted_here() -> None:
    counted = dict(
        re.findall(r"^\| `(sfnet_\w+)` \|[^|]*\| ([\d.]+) G \|", documents(), re.MULTILINE)
    )
    names = {
        "R18": "resnet18", "R50": "resnet50", "R101": "resnet101", "DF1": "dfnetv1",
        "DF2": "dfnetv2",
    }
    rows = sfnet_res.read_published(ROOT / "results/figures/published.yaml")["cost"]
    costs = {names[row["name"]]: row["gmacs"] for row in rows if row["family"] == "SFNet"}
    assert costs == {name: float(counted[f"sfnet_{name}"]) for name in names.values()}
