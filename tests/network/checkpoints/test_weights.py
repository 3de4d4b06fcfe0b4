from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import network
from network.checkpoints.files import write_safetensors
from network.checkpoints.keys import published_shapes
from network.checkpoints.weights import (
    WRAPPERS,
    WeightsError,
    load,
    published_state_dict,
    state_dict,
)

NAME = "sfnet_dfnetv1"
BIAS = "head.conv_last.1.bias"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return published_state_dict(network.build(NAME, 3))


@pytest.fixture(scope="module")
def state_dsn() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return published_state_dict(network.build(NAME, 3, deep_supervision=True))


def assert_holds(net: torch.nn.Module, state: dict[str, Tensor]) -> None:
    loaded = published_state_dict(net)
    assert all(torch.equal(loaded[key], state[key]) for key in loaded)


# What loads.

@pytest.mark.parametrize("prefix", [
    "", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.",
    "_orig_mod.module._orig_mod.module.", "_forward_module._fsdp_wrapped_module.",
    "model._orig_mod.", "net.", "_orig_mod.model."])
@pytest.mark.parametrize("nesting", [None, "state_dict", "model_state_dict", "model", "module"])
def test_wrappers_prefixes_and_nestings_are_removed(state: dict[str, Tensor], prefix: str,
                                                    nesting: str | None) -> None:
    wrapped = {prefix + key: value for key, value in state.items()}
    net = network.build(NAME, 3)
    report = load(net, wrapped if nesting is None else {nesting: wrapped, "epoch": 3})
    assert_holds(net, state)
    assert (len(report.loaded), report.dropped, report.random) == (len(state), (), ())


def averaged(net: nn.Module) -> nn.Module:
    return torch.optim.swa_utils.AveragedModel(net)


def compiled(net: nn.Module) -> nn.Module:
    # compiles when it is first run
    return cast("nn.Module", torch.compile(net))


def names(wrappers: tuple[Callable[[nn.Module], nn.Module], ...]) -> str:
    return "-".join(wrapper.__name__ for wrapper in wrappers)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("wrappers", [
    (nn.DataParallel, compiled), (compiled, nn.DataParallel), (nn.DataParallel, nn.DataParallel),
    (averaged,), (nn.DataParallel, averaged), (averaged, nn.DataParallel), (averaged, compiled),
    (compiled, averaged, nn.DataParallel)], ids=names)
def test_what_the_wrappers_of_torch_save_loads(
        tmp_path: Path, suffix: str,
        wrappers: tuple[Callable[[nn.Module], nn.Module], ...]) -> None:
    wrapped = source = network.build(NAME, 3)
    for wrapper in wrappers:
        wrapped = wrapper(wrapped)
    path, net = tmp_path / f"a{suffix}", network.build(NAME, 3)
    if suffix == ".pth":
        torch.save(wrapped.state_dict(), path)
    else:
        write_safetensors({"state_dict": wrapped.state_dict()}, path)
    load(net, path)
    assert_holds(net, published_state_dict(source))


@pytest.mark.parametrize("name", ["sfnet_dfnetv1", "sfnet_resnet18"])
@pytest.mark.parametrize("wrapper", [compiled, nn.DataParallel])
def test_wrappers_around_parts_of_the_network_are_removed(
        name: str, wrapper: Callable[[nn.Module], nn.Module]) -> None:
    source, net = network.build(name, 3), network.build(name, 3)
    state = published_state_dict(source)
    source.backbone = wrapper(source.backbone)
    source.head.conv_last = wrapper(source.head.conv_last)
    load(net, source.state_dict())
    assert_holds(net, state)


def test_two_tensors_that_differ_by_their_wrappers_alone_are_refused(
        state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=rf"two tensors are called {BIAS}"):
        load(network.build(NAME, 3), {**state, f"module.{BIAS}": state[BIAS] + 1})


def test_a_part_of_the_network_that_is_called_as_a_wrapper_keeps_its_name() -> None:
    ours = ["model.stages_0.module.weight"]
    given = {"module.model.stages_0.module.weight": torch.ones(1)}
    assert [*state_dict(given, False, "a.pth", ours)] == ours


@pytest.mark.parametrize("arch", network.names())
def test_no_network_has_a_part_that_is_called_as_a_wrapper(arch: str) -> None:
    keys = network.build(arch, 3).state_dict()
    assert {part for key in keys for part in key.split(".")}.isdisjoint(WRAPPERS)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_zip_and_legacy_files_load(tmp_path: Path, state: dict[str, Tensor], legacy: bool) -> None:
    torch.save(OrderedDict(state), tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    net = network.build(NAME, 3)
    load(net, tmp_path / "a.pth")
    assert_holds(net, state)


def test_auxiliary_heads_of_the_file_are_left_out_and_named(state_dsn: dict[str, Tensor]) -> None:
    net = network.build(NAME, 3)
    report = load(net, state_dsn)
    assert set(report.dropped) == {key for key in state_dsn if key.startswith("head.dsn.")}
    assert f"{len(report.dropped)} left out: head.dsn.0.0.weight" in str(report)


def test_auxiliary_heads_that_the_file_lacks_are_an_error_or_stay_random(
        state: dict[str, Tensor]) -> None:
    net = network.build(NAME, 3, deep_supervision=True)
    before = net.head.dsn[0][0].weight.clone()
    with pytest.raises(WeightsError, match=r"it has no auxiliary heads\. .*init_aux"):
        load(net, state)
    report = load(net, state, init_aux=True)
    assert torch.equal(net.head.dsn[0][0].weight, before)
    assert report.random
    assert all(key.startswith("head.dsn.") for key in report.random)
    assert "kept random: head.dsn.0.0.weight" in str(report)


def test_a_classifier_of_another_class_count_is_an_error_or_stays_random(
        state: dict[str, Tensor]) -> None:
    net = network.build(NAME, 5)
    with pytest.raises(WeightsError, match=r"(?s)another number of classes.*reset_classifier=True.*"
                                           r"head\.conv_last\.1\.weight: \(3, 64, 1, 1\) in the "
                                           r"file, \(5, 64, 1, 1\)"):
        load(net, state)
    report = load(net, state, reset_classifier=True)
    assert set(report.random) == {"head.conv_last.1.weight", BIAS}
    key = "backbone.stage1.0.weight"
    assert torch.equal(published_state_dict(net)[key], state[key])


def test_averaged_weights_are_asked_for(state: dict[str, Tensor]) -> None:
    net = network.build(NAME, 3)
    load(net, {"state_dict": state, "ema": {**state, BIAS: state[BIAS] + 1}}, ema=True)
    assert torch.equal(net.head.conv_last[1].bias, state[BIAS] + 1)
    with pytest.raises(WeightsError, match="holds no averaged weights: its run averaged none"):
        load(net, {"state_dict": state, "ema": None}, ema=True)


# What does not load, and changes nothing.

def test_every_bad_key_is_named_and_nothing_is_loaded(state: dict[str, Tensor]) -> None:
    net = network.build(NAME, 3)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    wrong = {**state, "extra.weight": torch.zeros(1),
             "backbone.stage1.0.weight": torch.zeros(32, 3, 1, 1)}
    del wrong[BIAS]
    with pytest.raises(WeightsError) as caught:
        load(net, wrong)
    message = str(caught.value)
    assert f"1 missing from the file: {BIAS}" in message
    assert "1 not in the network: extra.weight" in message
    assert ("backbone.stage1.0.weight: (32, 3, 1, 1) in the file, (32, 3, 3, 3) in the network"
            in message)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_the_content_of_a_file_decides_how_it_is_read_and_not_its_name(
        tmp_path: Path, state: dict[str, Tensor]) -> None:
    write_safetensors({"state_dict": state}, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.safetensors")
    for name in ("a.pth", "b.safetensors"):
        net = network.build(NAME, 3)
        load(net, tmp_path / name)
        assert_holds(net, state)


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match="is not a state dict: it is empty"):
        load(network.build(NAME, 3), tmp_path / "empty.pth")
    torch.save({"lr": 0.1}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="is not a state dict: lr are not tensors"):
        load(network.build(NAME, 3), tmp_path / "other.pth")


# What published files hold besides, and under other keys.

def published(name: str, **options: Any) -> dict[str, Tensor]:
    """A state dict with everything that a published file of the architecture holds."""
    torch.manual_seed(0)
    shapes = published_shapes(network.build(name, 3, **options))
    return {key: torch.rand(shape) if shape else torch.tensor(0) for key, shape in shapes.items()}


def test_of_stdcs_two_copies_the_one_by_stride_is_loaded_and_the_rest_named() -> None:
    given = published("sfnet_stdc1")
    net = network.build("sfnet_stdc1", 3)
    report = load(net, given)
    assert torch.equal(net.backbone.features[4].conv_list[1].conv.weight,
                       given["backbone.x16.0.4.conv_list.1.conv.weight"])
    unused = {key for key in given if key.startswith(tuple(
        f"backbone.{part}." for part in ("conv_last", "fc", "bn", "linear", "features")))}
    assert set(report.dropped) == unused
    assert len(report.loaded) == len(net.state_dict())


@pytest.mark.parametrize("copy", ["features", "x"])
def test_one_copy_of_stdc_is_enough(copy: str) -> None:
    given = {key: value for key, value in published("sfnet_stdc1").items()
             if not key.startswith("backbone.") or key.removeprefix("backbone.").startswith(copy)}
    assert load(network.build("sfnet_stdc1", 3), given).dropped == ()


def test_lites_unused_parts_are_left_out_and_its_auxiliary_head_is_loaded_to_train() -> None:
    given = published("sfnet_lite_resnet18")
    lateral = {key for key in given if key.startswith("head.fpn_in.2.")}
    aux = {key for key in given if key.startswith("head.dsn.")}
    assert set(load(network.build("sfnet_lite_resnet18", 3), given).dropped) == lateral | aux
    net = network.build("sfnet_lite_resnet18", 3, deep_supervision=True)
    assert set(load(net, given).dropped) == lateral
    assert torch.equal(net.head.dsn[4].bias, given["head.dsn.4.bias"])


@pytest.mark.parametrize("name", ["deeplabv3plus_resnet18", "sfnet_resnet18"])
def test_parts_at_the_top_of_published_files_load_under_either_name(name: str) -> None:
    given, net = published(name), network.build(name, 3)
    assert any(key.startswith("layer0.") for key in given)
    load(net, given)
    load(network.build(name, 3), net.state_dict())
    assert published_state_dict(net).keys() == given.keys()


@pytest.mark.parametrize(("file", "built"), [
    ("sfnet_resnet18", "sfnet_dfnetv1"),
    ("fpn_dfnetv1", "sfnet_dfnetv1"),
    ("sfnet_lite_stdc1", "sfnet_stdc1"),
    ("dfsegnet_dfnetv2", "sfnet_stdc1"),
])
def test_a_file_of_another_architecture_is_named(file: str, built: str) -> None:
    given = {f"module.{key}": value for key, value in published(file).items()}
    with pytest.raises(WeightsError, match=rf"does not fit the network: it looks like {file}, not "
                                           rf"{built}\. Choose the architecture of the file, "
                                           rf"arch={file}\."):
        load(network.build(built, 3), {"state_dict": given})


def test_the_same_architecture_with_other_options_says_so() -> None:
    given = published_state_dict(network.build(NAME, 3, final_fams=True))
    message = "it looks like sfnet_dfnetv1, but damaged, or with other options"
    with pytest.raises(WeightsError, match=message):
        load(network.build(NAME, 3), given)


def test_an_unknown_network_is_named_as_such() -> None:
    with pytest.raises(WeightsError, match="it holds a network that is not one of those here"):
        load(network.build(NAME, 3), {"encoder.weight": torch.zeros(1)})


@pytest.mark.slow
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_loading_takes_no_more_memory_than_one_and_a_half_times_the_files_size(
        tmp_path: Path, legacy: bool) -> None:
    state = published_state_dict(network.build("sfnet_resnet101", 19))
    torch.save({"state_dict": state}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    size = (tmp_path / "a.pth").stat().st_size
    code = ("import resource, sys, torch, network\n"
            "net = network.build('sfnet_resnet101', 19)\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "network.checkpoints.weights.load(net, sys.argv[1])\n"
            "print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))\n")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.pth")], capture_output=True, text=True,
        check=True, cwd=Path(network.__file__).parents[1])
    assert size > 200e6
    assert int(done.stdout) <= 1.5 * size
