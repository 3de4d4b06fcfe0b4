from __future__ import annotations

import json
from pathlib import Path

import pytest

import network
from tools.benchmark import __main__ as benchmark
from tools.benchmark import models

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
def test_parameters_and_macs_are_those_of_the_published_networks(costs: dict[str, models.Cost],
                                                                 name: str) -> None:
    assert (costs[name].published_parameters, costs[name].macs) == EXPECTED[name]


def test_only_unused_parts_make_a_published_file_larger(costs: dict[str, models.Cost]) -> None:
    larger = {name for name, cost in costs.items() if cost.published_parameters != cost.parameters}
    assert larger == {name for name in network.names() if "stdc" in name} | {"sfnet_lite_resnet18"}


def test_the_table_of_networks_is_the_generated_one(costs: dict[str, models.Cost]) -> None:
    document = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert models.with_table(document, costs.values()) == document, \
        "renew it: python -m tools.benchmark models --doc docs/reference.md"


def test_counts_go_to_json_and_into_a_document(tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_document_without_the_tables_place_is_refused(tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.md").write_text("nothing")
    assert benchmark.main(["models", "--arch", "sfnet_dfnetv1", "--size", "64",
                           "--doc", str(tmp_path / "a.md")]) == 2
    assert "the document has no place for the table" in capsys.readouterr().err


def test_an_unknown_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["models", "--arch", "sfnet_resnet19"]) == 2
    assert "unknown architecture 'sfnet_resnet19'; did you mean" in capsys.readouterr().err
