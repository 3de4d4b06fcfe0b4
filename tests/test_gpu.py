"""What runs on a GPU gives what the CPU gives: `python -m pytest -m gpu`, in a minute.

The criteria, label maps and CUDA graphs have their tests beside those of the CPU. Without a GPU,
SFSEG_GPU_TESTS_DEVICE=cpu runs everything on the CPU, which checks the tests themselves.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import loss
import network
import train
import transforms
from tests import tiny_training
from tests.gpu_waits import waiting_is_an_error
from tools.make_streets import __main__ as make_streets
from utils import batches, distributed, precision
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.predictor import Predictor
from utils.training.ema import Ema

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES = 5


@pytest.fixture(autouse=True)
def plain_float32() -> Iterator[None]:
    """Products in float32, not TF32, and cuDNN's first choice of a kernel."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    precision.configure(tf32=False, deterministic=False, one_size=False)
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return network.build(name, NUM_CLASSES)


def images(height: int, width: int, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """max |a - b| <= tolerance * max |b|."""
    difference = (actual.detach().cpu().double() - expected.detach().double()).abs().max()
    assert difference <= tolerance * expected.detach().abs().max()


@pytest.mark.parametrize("name", network.names())
def test_a_network_gives_the_logits_of_the_cpu(gpu: torch.device, name: str) -> None:
    net = build(name).eval()
    inputs = batches.normalize(images(64, 96), MEAN, STD)
    with torch.inference_mode():
        expected = net(inputs)["main"]
        logits = net.to(gpu)(inputs.to(gpu))["main"]
    assert logits.device == gpu
    assert_near(logits, expected, 1e-4)
    agreement = (logits.argmax(1).cpu() == expected.argmax(1)).float().mean()
    assert agreement >= 0.999


@pytest.mark.parametrize("name", ["sfnet_dfnetv1", "sfnet_lite_dfnetv1"])
def test_gradients_through_the_flow_are_those_of_the_cpu(gpu: torch.device, name: str) -> None:
    # running statistics: those of a batch amplify rounding
    net, inputs = build(name).eval(), batches.normalize(images(64, 64), MEAN, STD)
    there = copy.deepcopy(net).to(gpu)
    for each, device in ((net, CPU), (there, gpu)):
        each(inputs.to(device))["main"].square().mean().backward()
    norms = [torch.stack([weight.grad.norm().cpu() for weight in each.parameters()])
             for each in (net, there)]
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-3, atol=1e-3 * norms[0].max().item())


@pytest.mark.parametrize(("kind", "mean_difference"), [
    ("fp32", 1e-5), ("tf32", 2e-3), ("bf16", 2e-2), ("fp16", 5e-3)])
def test_each_precision_gives_probabilities_near_those_of_the_cpu(
    gpu: torch.device, kind: str, mean_difference: float
) -> None:
    if gpu.type != "cuda" and kind == "fp16":
        pytest.skip("fp16 is for GPUs")
    net = network.fuse_for_inference(build("sfnet_lite_resnet18"))
    expected = Predictor(net, CPU, "fp32", MEAN, STD).probabilities(images(64, 96))
    if kind == "tf32":
        precision.configure(tf32=True, deterministic=False, one_size=False)
    name = "fp32" if kind == "tf32" else kind
    predictor = Predictor(copy.deepcopy(net), gpu, name, MEAN, STD, channels_last=True)
    probabilities = predictor.probabilities(images(64, 96))
    assert probabilities.dtype == torch.float32
    assert (probabilities.cpu() - expected).abs().mean() <= mean_difference


@pytest.mark.parametrize("inference", [
    InferenceOptions("whole", scales=(0.5, 1.0), flip=True),
    InferenceOptions("pooling", scales=(1.0, 1.5), flip=True, average="logits"),
    InferenceOptions("sliding", (48, 48), windows_per_batch=2, flip=True),
], ids=str)
def test_every_inference_mode_gives_what_the_cpu_gives(
    gpu: torch.device, inference: InferenceOptions
) -> None:
    net = network.fuse_for_inference(build("sfnet_dfnetv1"))
    results = [Predictor(copy.deepcopy(net), device, "fp32", MEAN, STD, channels_last=True,
                         inference=inference).probabilities(images(64, 80))
               for device in (CPU, gpu)]
    torch.testing.assert_close(results[1].cpu(), results[0], rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
def test_a_compiled_network_gives_what_it_gives_eagerly(gpu: torch.device) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    net = tiny_training.Net().eval()
    plain, compiled = (Predictor(copy.deepcopy(net), gpu, "fp32", MEAN, STD, compiled=compiled)
                       for compiled in (False, True))
    for size in ((64, 96), (48, 64)):
        torch.testing.assert_close(compiled.logits(images(*size)), plain.logits(images(*size)),
                                   rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("blur", [None, transforms.GaussianBlur()], ids=["color", "and blur"])
def test_a_batch_is_augmented_and_normalized_as_on_the_cpu(
    gpu: torch.device, blur: transforms.GaussianBlur | None
) -> None:
    augmentation = transforms.GpuColorAugmentation(transforms.ColorJitter(), blur)
    drawn = [augmentation.draw(np.random.default_rng(seed)) for seed in range(2)]
    batch = {"image": images(32, 48), "label": torch.zeros(2, 32, 48, dtype=torch.uint8),
             **{key: torch.stack([values[key] for values in drawn]) for key in drawn[0]}}

    def prepared(device: torch.device) -> Tensor:
        ready = batches.prepare(batch, device, MEAN, STD, channels_last=True,
                                augment=augmentation.augment)
        return ready["image"]

    prepared(gpu)  # what is set up once may wait
    with waiting_is_an_error(gpu):
        augmented = prepared(gpu)
    torch.testing.assert_close(augmented.cpu(), prepared(CPU), rtol=1e-4, atol=1e-3)


def test_batches_are_copied_ahead_unchanged(gpu: torch.device) -> None:
    loaded = [{"image": images(16, 16) + number, "name": [str(number)]} for number in range(4)]
    copied = list(batches.ahead_on_device(loaded, gpu))
    assert [batch["name"] for batch in copied] == [["0"], ["1"], ["2"], ["3"]]
    assert all(torch.equal(there["image"].cpu(), here["image"])
               for there, here in zip(copied, loaded, strict=True))


def test_confusion_matrices_are_those_of_the_cpu(gpu: torch.device) -> None:
    predictions, labels = (images(64, 96)[:, channel] % NUM_CLASSES for channel in (0, 1))
    labels[:, :8] = 255
    here, there = ConfusionMatrix(NUM_CLASSES), ConfusionMatrix(NUM_CLASSES, device=gpu)
    here.update(predictions, labels)
    there.update(predictions.to(gpu), labels)
    assert torch.equal(there.matrix.cpu(), here.matrix) and here.pixels == 2 * 56 * 96


def test_the_average_of_weights_is_that_of_the_cpu(gpu: torch.device) -> None:
    averages = []
    for device in (CPU, gpu):
        net = build("sfnet_dfnetv1").to(device)
        average = Ema(net, 0.99)
        for step in range(3):
            with torch.no_grad():
                for weight in net.parameters():
                    weight.mul_(0.9)
            with waiting_is_an_error(device):
                average.update(net, step)
        averages.append(torch.cat([weight.flatten().cpu() for weight in average.net.parameters()]))
    torch.testing.assert_close(averages[1], averages[0], rtol=1e-5, atol=1e-7)


def step_losses(device: torch.device, kind: str, steps: int = 4) -> list[float]:
    """Losses of a few steps of a tiny network, by the step of train.py, with OHEM."""
    training = tiny_training.TinyTraining(
        tiny_training.Net().to(device), criterion=loss.OhemCrossEntropy(0.7, 20).to(device))
    training.device, training.precision = device, kind
    training.scaler = torch.amp.GradScaler(device.type, enabled=kind == "fp16")
    training.max_norm = 1.0
    batch = {key: value.to(device) if isinstance(value, Tensor) else value
             for key, value in tiny_training.batch().items()}
    losses: list[Tensor] = []
    training.step(batch)
    # fp16: torch's gradient scaler reads one number a step
    with waiting_is_an_error(CPU if kind == "fp16" else device):
        for _ in range(steps):
            terms = training.step(batch)
            assert terms is not None
            losses.append(terms["main"])
    return torch.stack(losses).tolist()


@pytest.mark.parametrize(("kind", "tolerance"), [("fp32", 1e-4), ("bf16", 0.05), ("fp16", 0.05)])
def test_a_step_in_each_precision_gives_the_loss_of_the_cpu_and_waits_for_nothing(
    gpu: torch.device, kind: str, tolerance: float
) -> None:
    if gpu.type != "cuda" and kind == "fp16":
        pytest.skip("fp16 is for GPUs")
    expected, losses = step_losses(CPU, "fp32"), step_losses(gpu, kind)
    # a scale that is too large at first skips steps
    assert kind == "fp16" or losses == pytest.approx(expected, rel=tolerance)
    assert losses[-1] <= losses[0] and losses[0] == pytest.approx(expected[0], rel=0.2)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    make_streets.main(
        ["--out", str(root), "--train", "8", "--val", "2", "--size", "64x128", "--workers", "1"]
    )
    return root


@pytest.fixture
def flags(scenes: Path, tmp_path: Path) -> list[str]:
    return ["--arch", "sfnet_dfnetv1", "--pretrained", "none", "--data_root", str(scenes),
            "--ckpt", str(tmp_path), "--crop_size", "64", "--bs_mult", "4", "--max_iters", "4",
            "--log_every", "1", "--checkpoint_every", "2", "--num_workers", "0", "--ohem",
            "--fpn_dsn_loss", "--augment_on", "device", "--ema_decay", "0.9", "--no_tf32"]


def losses_of(run: Path) -> list[float]:
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.mark.parametrize("more", [["--precision", "fp32"], ["--precision", "bf16"],
                                  ["--precision", "fp16", "--recompute"]], ids=lambda more: more[1])
def test_a_resumed_run_goes_on_as_if_it_had_not_been_stopped(
    gpu: torch.device, flags: list[str], tmp_path: Path, more: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if gpu.type != "cuda" and "fp16" in more:
        pytest.skip("fp16 is for GPUs")
    monkeypatch.setattr(precision, "default_device", lambda: gpu)
    assert train.main([*flags, *more, "--exp", "run"]) == 0
    whole = losses_of(tmp_path / "run")
    for name in ("step_4.pth", "step_4.pth.sha256"):
        (tmp_path / "run/checkpoints" / name).unlink()
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    resumed = losses_of(tmp_path / "run")
    # kernels that add in any order give other last bits
    assert len(whole) == 4 and resumed == pytest.approx(whole, rel=1e-2)
    assert resumed[:2] == whole[:2]


@pytest.fixture
def one_rank(gpu: torch.device) -> Iterator[torch.device]:
    """A process group of this process alone: NCCL on a GPU."""
    dist.init_process_group("nccl" if gpu.type == "cuda" else "gloo", store=dist.HashStore(),
                            rank=0, world_size=1)
    try:
        yield gpu
    finally:
        distributed.stop()


def test_one_rank_with_its_process_group_takes_the_steps_of_a_process_without(
    one_rank: torch.device,
) -> None:
    nets = [tiny_training.Net().to(one_rank) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    models = [nets[0], distributed.wrap(nets[1], one_rank, syncbn=True)]
    inputs = tiny_training.batch()["image"].to(one_rank)
    for model in models:
        for _ in range(2):
            model.zero_grad()
            model(inputs)["main"].square().mean().backward()
    torch.testing.assert_close(*[
        torch.cat([weight.grad.flatten() for weight in net.parameters()]) for net in nets])
    torch.testing.assert_close(nets[0].state_dict(), nets[1].state_dict())
    total = distributed.all_reduce_sum_(torch.ones(3, device=one_rank))
    assert total.tolist() == [1, 1, 1] and distributed.gather(5) == [5]
