"""Every network computes what was recorded: from the published networks where those fixtures are at hand, and in a
smaller form of our own, `numbers.json`, everywhere. That file is made anew, after a check against the fixtures, by

    PYTHONPATH=. python tests/network/test_parity.py
"""
from __future__ import annotations

import importlib.util
import json
import re
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import network
from network.checkpoints.weights import load, published_key, published_state_dict

NUMBERS = Path(__file__).with_name("numbers.json")
TRAINED = ("sfnet_resnet18", "sfnet_dfnetv1", "sfnet_dfnetv1_dsn", "sfnet_lite_resnet18", "sfnet_lite_stdc1")
FIXTURES = (*TRAINED, "deeplabv3plus_resnet50", "decouple_resnet50")
WITH_AUX = ("sfnet_dfnetv1", "sfnet_lite_stdc1", "pspnet_resnet18", "deeplabv3plus_resnet18", "dfsegnet_dfnetv1")
LARGE = re.compile("resnet50|resnet101|wideresnet38")       # measured in evaluation mode only


def build(fixture: str) -> nn.Module:
    return network.build(fixture.removesuffix("_dsn"), 19, deep_supervision=fixture.endswith("_dsn"))


def fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers that depend on the key and the shape alone: moderate gains, so that nothing dies or explodes."""
    uniform = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).random(shape, np.float32)
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        return torch.from_numpy(0.5 + uniform)
    if len(shape) <= 1:
        return torch.from_numpy(0.4 * uniform - 0.2)
    gain = 3.0 if "flow" in key else 1.2
    scale = (12 / np.prod(shape[1:])) ** 0.5
    return torch.from_numpy(np.multiply(gain * (uniform - 0.5), scale, dtype=np.float64)).float()


def pictures(count: int, height: int, width: int) -> Tensor:
    ramp = torch.arange(count * 3 * height * width, dtype=torch.float64)
    return torch.sin(0.37 * ramp + 0.011 * ramp.square() % 6.28).float().reshape(count, 3, height, width)


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=True), labels,
                           ignore_index=255)


def without_dropout(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return net


def gradient_norms(net: nn.Module) -> dict[str, float]:
    return {published_key(net, name): float(parameter.grad.norm()) for name, parameter in net.named_parameters()
            if parameter.grad is not None}


def measure(name: str) -> dict[str, Any]:
    """Sampled logits in evaluation mode, and losses and gradient norms in training mode, of small inputs."""
    net = without_dropout(build(name))
    load(net, {key: fill(key, tuple(value.shape)) for key, value in published_state_dict(net).items()})
    with torch.no_grad():
        logits = net.eval()(pictures(1, 65, 97))["main"]
    found: dict[str, Any] = {"logits": [round(value, 6) for value in logits[0, ::6, ::21, ::24].flatten().tolist()],
                             "largest": round(float(logits.abs().max()), 6)}
    return found if LARGE.search(name) else found | measure_training(net)


def measure_training(net: nn.Module) -> dict[str, Any]:
    net.double()                                            # equal on every machine and with any number of threads
    labels = torch.arange(2 * 64 * 96).reshape(2, 64, 96) // 37 % 19
    labels[:, :5] = 255
    outputs = net.train()(pictures(2, 64, 96).double(), upsample=False)
    losses = {key: mean_cross_entropy(value, labels) for key, value in outputs.items() if value.shape[1] == 19}
    sum(losses.values()).backward()
    norms = gradient_norms(net)
    return {"losses": {key: round(float(value.detach()), 6) for key, value in losses.items()},
            "gradients": {key: float(f"{norms[key]:.6g}") for key in sorted(norms)[:: max(1, len(norms) // 8)]}}


NUMBERS_OF = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if name.endswith(("resnet101", "wideresnet38")) else ())
    for name in NUMBERS_OF])
def test_the_stored_numbers_hold(name: str) -> None:
    found, stored = measure(name), NUMBERS_OF[name]
    assert found["logits"] == pytest.approx(stored["logits"], rel=0, abs=1e-4 * stored["largest"])
    assert found.get("losses", {}) == pytest.approx(stored.get("losses", {}), rel=1e-4)
    assert found.get("gradients", {}) == pytest.approx(stored.get("gradients", {}), rel=1e-3)


def test_numbers_are_stored_for_every_network() -> None:
    assert {name.removesuffix("_dsn") for name in NUMBERS_OF} == set(network.names())


# The published networks' numbers.

def _recipes(parity: Path) -> ModuleType:
    """The module beside the fixtures that makes their weights, images and labels."""
    spec = importlib.util.spec_from_file_location("parity_weights", parity / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filled(parity: Path, fixture: str) -> tuple[nn.Module, ModuleType]:
    recipes = _recipes(parity)
    shapes = json.loads((parity / "state_dict_keys.json").read_text())[fixture]
    net = without_dropout(build(fixture))
    load(net, {key: torch.from_numpy(np.asarray(recipes.fill(key, shape))) for key, shape in shapes.items()})
    return net, recipes


@pytest.mark.parametrize("fixture", FIXTURES)
def test_the_published_logits_hold(parity: Path, fixture: str) -> None:
    recorded = np.load(parity / f"{fixture}.npz")
    net, recipes = filled(parity, fixture)
    for case in range(sum(key.endswith("_seed") for key in recorded.files)):
        shape, seed = tuple(recorded[f"case{case}_shape"]), int(recorded[f"case{case}_seed"])
        with torch.no_grad():
            logits = net.eval()(torch.from_numpy(recipes.image(seed, shape)))["main"]
        step, expected = (8 if case == 2 else 4), torch.from_numpy(recorded[f"case{case}_logits_stride4"])
        assert (logits[..., ::step, ::step] - expected).abs().max() <= 1e-4 * expected.abs().max()
        same = logits.argmax(1).numpy() == recorded[f"case{case}_argmax"]
        assert same.mean() >= 0.9995


@pytest.mark.parametrize("fixture", TRAINED)
def test_the_published_losses_and_gradients_hold(parity: Path, fixture: str) -> None:
    recorded = np.load(parity / f"{fixture}.npz")
    net, recipes = filled(parity, fixture)
    # In double precision: a ReLU that flips by rounding, with another number of threads, moves gradients by 0.5 %.
    outputs = net.double().train()(torch.from_numpy(recipes.image(21, (2, 3, 128, 256))).double())
    labels = torch.from_numpy(recipes.labels(22, (2, 128, 256), 19))
    main, *aux = (mean_cross_entropy(logits, labels) for logits in outputs.values())
    main_loss, total = float(recorded["train_loss_main"]), float(recorded["train_grad_norm"])
    assert float(main.detach()) == pytest.approx(main_loss, rel=1e-4)
    assert [float(each.detach()) for each in aux] == pytest.approx(recorded["train_loss_aux"].tolist(), rel=1e-4)
    (main + sum(aux)).backward()
    found = gradient_norms(net)
    expected = dict(zip(recorded["train_grad_keys"].tolist(), recorded["train_grad_norms"].tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5 * total)      # a bias before a norm gets rounding only


def record() -> None:
    """Writes `numbers.json` from the networks as they are."""
    names = [*network.names(), *(f"{name}_dsn" for name in WITH_AUX)]
    NUMBERS.write_text(json.dumps({name: measure(name) for name in names}, indent=1) + "\n")


if __name__ == "__main__":
    record()
