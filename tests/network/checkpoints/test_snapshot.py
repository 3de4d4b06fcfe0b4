from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import network
from network.checkpoints.snapshot import Snapshot
from network.checkpoints.weights import WeightsError, published_state_dict

CLASSES = ("road", "car", "sky")
BIAS = "head.conv_last.1.bias"


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    torch.manual_seed(0)
    return published_state_dict(network.build("sfnet_dfnetv1", 3, deep_supervision=True))


def saved(path: Path, state: dict[str, Any], **changes: Any) -> Path:
    torch.save({"arch": "sfnet_dfnetv1", "dataset": "toys", "classes": list(CLASSES),
                "state_dict": state, "ema": None, **changes}, path)
    return path


def test_a_runs_checkpoint_says_everything_itself(tmp_path: Path, state: dict[str, Any]) -> None:
    snapshot = Snapshot(saved(tmp_path / "last.pth", state))
    net = snapshot.network("toys", CLASSES)
    assert snapshot.arch == "sfnet_dfnetv1"
    assert snapshot.dataset == "toys"
    assert snapshot.weights == "raw"
    assert not net.training
    assert torch.equal(published_state_dict(net)[BIAS], state[BIAS])


@pytest.mark.parametrize(("weights", "used"), [("auto", "ema"), ("ema", "ema"), ("raw", "raw")])
def test_averaged_weights_are_taken_if_there_are_any(tmp_path: Path, state: dict[str, Any],
                                                     weights: str, used: str) -> None:
    average = {**state, BIAS: state[BIAS] + 1}
    snapshot = Snapshot(saved(tmp_path / "last.pth", state, ema=average), weights=weights)
    assert snapshot.weights == used
    loaded = published_state_dict(snapshot.network("toys", CLASSES))[BIAS]
    assert torch.equal(loaded, {"ema": average, "raw": state}[used][BIAS])


@pytest.mark.parametrize(("validated", "used"), [("raw", "raw"), ("both", "ema"), ("auto", "ema")])
def test_the_weights_that_the_run_validated_are_taken(tmp_path: Path, state: dict[str, Any],
                                                      validated: str, used: str) -> None:
    path = saved(tmp_path / "best.pth", state, ema=state, args={"eval_weights": validated})
    assert Snapshot(path).weights == used
    assert Snapshot(path, weights="ema").weights == "ema"


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, state: dict[str, Any]) -> None:
    spoiled = {**state, BIAS: torch.full_like(state[BIAS], float("nan"))}
    snapshot = Snapshot(saved(tmp_path / "last.pth", spoiled))
    with pytest.raises(WeightsError, match=rf"not finite .*, in {BIAS}: its training diverged"):
        snapshot.network("toys", CLASSES)


def test_a_folder_stands_for_its_best_last_or_newest_checkpoint(
        tmp_path: Path, state: dict[str, Any]) -> None:
    (tmp_path / "checkpoints").mkdir()
    names = ["checkpoints/step_9.pth", "checkpoints/step_10.pth", "last.pth", "best.pth"]
    for name in names:
        path = saved(tmp_path / name, state)
        assert Snapshot(tmp_path).path == path
    assert Snapshot(tmp_path / "checkpoints").path == tmp_path / names[1]
    net = network.build("sfnet_dfnetv1", 3)
    assert network.weights.load(net, tmp_path, init_aux=True).loaded


def test_a_bare_state_dict_shows_its_architecture_but_not_its_dataset(
        tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save(dict(state), tmp_path / "published.pth")
    snapshot = Snapshot(tmp_path / "published.pth")
    assert snapshot.arch == "sfnet_dfnetv1"
    message = "does not say which dataset it was trained on: pass dataset=NAME"
    with pytest.raises(WeightsError, match=message):
        _ = snapshot.dataset
    snapshot.network("toys", CLASSES)


@pytest.mark.parametrize(("keys", "guess"), [
    (["some.weight"], ""),
    (["stage5.0.conv1.weight"], "dfnetv1"),
    (["backbone.model.a", "head.fpn_out_align.0.down_h"], "sfnet_timm"),
])
def test_keys_that_show_no_network_need_arch(tmp_path: Path, keys: list[str], guess: str) -> None:
    torch.save({key: torch.zeros(1) for key in keys}, tmp_path / "a.pth")
    hint = f", and its keys only show {guess}" if guess else ""
    message = rf"does not say its architecture{hint}: pass arch=NAME \(sfnet_res"
    with pytest.raises(WeightsError, match=message):
        Snapshot(tmp_path / "a.pth")


def test_a_network_with_options_is_rebuilt_from_its_runs_flags(tmp_path: Path) -> None:
    options = {"fam_levels": (0,), "final_fams": True, "context": "sum"}
    net = network.build("sfnet_dfnetv1", 3, **options)
    args = {"arch": "sfnet_dfnetv1", "lr": 0.01, "output_stride": None, **options}
    path = saved(tmp_path / "last.pth", published_state_dict(net), args=args)
    rebuilt = Snapshot(path).network("toys", CLASSES)
    assert rebuilt.state_dict().keys() == net.state_dict().keys()


def test_a_dotted_name_of_the_reference_is_the_same_architecture(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.pth", {}, arch="sfnet_resnet18")
    assert Snapshot(path, arch="network.sfnet_resnet.DeepR18_SF_deeply").arch == "sfnet_resnet18"


def test_another_architecture_than_the_files_is_refused(tmp_path: Path,
                                                        state: dict[str, Any]) -> None:
    message = "holds sfnet_dfnetv1, not sfnet_resnet18: leave out arch=sfnet_resnet18"
    with pytest.raises(WeightsError, match=message):
        Snapshot(saved(tmp_path / "last.pth", state), arch="sfnet_resnet18")


def test_other_classes_are_refused_by_name(tmp_path: Path, state: dict[str, Any]) -> None:
    snapshot = Snapshot(saved(tmp_path / "last.pth", state))
    with pytest.raises(WeightsError, match=r"trained on the 3 classes of toys \(road, car, sky\), "
                                           r"but tools has 2 classes \(hammer, saw\): choose a "
                                           r"dataset"):
        snapshot.network("tools", ("hammer", "saw"))


def test_a_bare_file_of_another_class_count_is_refused(tmp_path: Path,
                                                       state: dict[str, Any]) -> None:
    torch.save(dict(state), tmp_path / "published.pth")
    with pytest.raises(WeightsError, match="another number of classes"):
        Snapshot(tmp_path / "published.pth").network("tools", ("hammer", "saw"))


def test_averaged_weights_that_are_not_there_are_refused(tmp_path: Path,
                                                         state: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=r'holds no averaged weights, .*weights="raw"'):
        Snapshot(saved(tmp_path / "last.pth", state), weights="ema")


def test_a_file_of_a_backbone_alone_is_refused(tmp_path: Path) -> None:
    backbone = network.build("sfnet_dfnetv1", 3).backbone.state_dict()
    torch.save({"arch": "sfnet_dfnetv1", "state_dict": backbone}, tmp_path / "imagenet.pth")
    with pytest.raises(WeightsError, match=r"holds no classifier of sfnet_dfnetv1: .*pretrained="):
        Snapshot(tmp_path / "imagenet.pth").build_network()


def test_a_temperature_is_a_number_above_0(tmp_path: Path, state: dict[str, Any]) -> None:
    assert Snapshot(saved(tmp_path / "a.pth", state)).temperature == 1.0
    assert Snapshot(saved(tmp_path / "b.pth", state, temperature=1.5)).temperature == 1.5
    for value in (0, -1.0, "warm", float("nan")):
        snapshot = Snapshot(saved(tmp_path / "c.pth", state, temperature=value))
        with pytest.raises(WeightsError, match="not a number above 0: fit it again"):
            assert snapshot.temperature
