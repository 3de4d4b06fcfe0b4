"""Every network computes the recorded numbers.

Those of the published networks are compared if the fixtures are available, and a smaller record,
`numbers.json`, everywhere. After a check against the fixtures, that file is written by

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
from network.checkpoints.keys import published_key
from network.checkpoints.weights import load, published_state_dict
from network.model import SceneParser

NUMBERS = Path(__file__).with_name("numbers.json")
TRAINED = ("sfnet_resnet18", "sfnet_dfnetv1", "sfnet_dfnetv1_dsn", "sfnet_lite_resnet18",
           "sfnet_lite_stdc1")
FIXTURES = (*TRAINED, "deeplabv3plus_resnet50", "decouple_resnet50")
WITH_AUX = ("sfnet_dfnetv1", "sfnet_lite_stdc1", "pspnet_resnet18", "deeplabv3plus_resnet18",
            "dfsegnet_dfnetv1")
# These are measured in evaluation mode only.
LARGE = re.compile("resnet50|resnet101|wideresnet38")


def build(fixture: str) -> SceneParser:
    deep_supervision = fixture.endswith("_dsn")
    return network.build(fixture.removesuffix("_dsn"), 19, deep_supervision=deep_supervision)


def fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """Returns numbers that depend on the key and the shape alone.

    The gains are moderate, so that no activation vanishes or explodes.
    """
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    uniform = generator.random(shape, np.float32)
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
    images = torch.sin(0.37 * ramp + 0.011 * ramp.square() % 6.28).float()
    return images.reshape(count, 3, height, width)


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    resized = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=True)
    return F.cross_entropy(resized, labels, ignore_index=255)


def without_dropout(net: SceneParser) -> SceneParser:
    for module in net.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return net


def gradient_norms(net: SceneParser) -> dict[str, float]:
    return {published_key(net, name): float(parameter.grad.norm())
            for name, parameter in net.named_parameters() if parameter.grad is not None}


def measure(name: str) -> dict[str, Any]:
    """Returns sampled logits in evaluation mode, losses and gradient norms in training mode."""
    net = without_dropout(build(name))
    load(net, {key: fill(key, tuple(value.shape))
               for key, value in published_state_dict(net).items()})
    with torch.no_grad():
        logits = net.eval()(pictures(1, 65, 97))["main"]
    sampled = logits[0, ::6, ::21, ::24].flatten().tolist()
    numbers: dict[str, Any] = {"logits": [round(value, 6) for value in sampled],
                               "largest": round(float(logits.abs().max()), 6)}
    return numbers if LARGE.search(name) else numbers | measure_training(net)


def measure_training(net: SceneParser) -> dict[str, Any]:
    # Double precision gives the same numbers on every machine and with any number of threads.
    net.double()
    labels = torch.arange(2 * 64 * 96).reshape(2, 64, 96) // 37 % 19
    labels[:, :5] = 255
    outputs = net.train()(pictures(2, 64, 96).double(), upsample=False)
    losses = {key: mean_cross_entropy(logits, labels) for key, logits in outputs.items()
              if logits.shape[1] == 19}
    sum(losses.values()).backward()
    norms = gradient_norms(net)
    sampled = sorted(norms)[:: max(1, len(norms) // 8)]
    return {"losses": {key: round(float(value.detach()), 6) for key, value in losses.items()},
            "gradients": {key: float(f"{norms[key]:.6g}") for key in sampled}}


NUMBERS_OF = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}


@pytest.mark.parametrize("name", [
    pytest.param(
        name, marks=pytest.mark.slow if name.endswith(("resnet101", "wideresnet38")) else ())
    for name in NUMBERS_OF])
def test_the_stored_numbers_hold(name: str) -> None:
    measured, stored = measure(name), NUMBERS_OF[name]
    tolerance = 1e-4 * stored["largest"]
    assert measured["logits"] == pytest.approx(stored["logits"], rel=0, abs=tolerance)
    assert measured.get("losses", {}) == pytest.approx(stored.get("losses", {}), rel=1e-4)
    assert measured.get("gradients", {}) == pytest.approx(stored.get("gradients", {}), rel=1e-3)


def test_numbers_are_stored_for_every_network() -> None:
    assert {name.removesuffix("_dsn") for name in NUMBERS_OF} == set(network.names())


# The published networks' numbers.

def _recipes(parity: Path) -> ModuleType:
    """Returns the module beside the fixtures that makes their weights, images and labels."""
    spec = importlib.util.spec_from_file_location("parity_weights", parity / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filled(parity: Path, fixture: str) -> tuple[SceneParser, ModuleType]:
    recipes = _recipes(parity)
    shapes = json.loads((parity / "state_dict_keys.json").read_text())[fixture]
    net = without_dropout(build(fixture))
    load(net, {key: torch.from_numpy(np.asarray(recipes.fill(key, shape)))
               for key, shape in shapes.items()})
    return net, recipes


@pytest.mark.parametrize("fixture", FIXTURES)
def test_the_published_logits_hold(parity: Path, fixture: str) -> None:
    recorded = np.load(parity / f"{fixture}.npz")
    net, recipes = filled(parity, fixture)
    for case in range(sum(key.endswith("_seed") for key in recorded.files)):
        shape, seed = tuple(recorded[f"case{case}_shape"]), int(recorded[f"case{case}_seed"])
        with torch.no_grad():
            logits = net.eval()(torch.from_numpy(recipes.image(seed, shape)))["main"]
        step = 8 if case == 2 else 4
        expected = torch.from_numpy(recorded[f"case{case}_logits_stride4"])
        assert (logits[..., ::step, ::step] - expected).abs().max() <= 1e-4 * expected.abs().max()
        same = logits.argmax(1).numpy() == recorded[f"case{case}_argmax"]
        assert same.mean() >= 0.9995


@pytest.mark.parametrize("fixture", TRAINED)
def test_the_published_losses_and_gradients_hold(parity: Path, fixture: str) -> None:
    recorded = np.load(parity / f"{fixture}.npz")
    net, recipes = filled(parity, fixture)
    # In double precision: a ReLU that flips by rounding, with another number of threads, changes
    # gradients by 0.5 %.
    images = torch.from_numpy(recipes.image(21, (2, 3, 128, 256))).double()
    outputs = net.double().train()(images)
    labels = torch.from_numpy(recipes.labels(22, (2, 128, 256), 19))
    main, *aux = (mean_cross_entropy(logits, labels) for logits in outputs.values())
    main_loss, total = float(recorded["train_loss_main"]), float(recorded["train_grad_norm"])
    assert float(main.detach()) == pytest.approx(main_loss, rel=1e-4)
    aux_losses = [float(term.detach()) for term in aux]
    assert aux_losses == pytest.approx(recorded["train_loss_aux"].tolist(), rel=1e-4)
    (main + sum(aux)).backward()
    keys, norms = recorded["train_grad_keys"].tolist(), recorded["train_grad_norms"].tolist()
    expected = dict(zip(keys, norms, strict=True))
    # The gradient of a bias before a batch norm is rounding alone, hence the absolute tolerance.
    assert gradient_norms(net) == pytest.approx(expected, rel=1e-3, abs=1e-5 * total)


def record() -> None:
    """Writes `numbers.json`."""
    names = [*network.names(), *(f"{name}_dsn" for name in WITH_AUX)]
    NUMBERS.write_text(json.dumps({name: measure(name) for name in names}, indent=1) + "\n")


if __name__ == "__main__":
    record()
