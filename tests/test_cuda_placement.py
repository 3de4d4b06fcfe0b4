"""Every part of a run on simulated CUDA tensors: a tensor of the CPU among them is an error here as
on a GPU. Backward passes run on the meta device, which has no values either.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import loss
import network
import transforms
from network import alignment
from network.pyramid_fusion import Fusion
from tests.loss.cases import COMBINED, case_of_all_outputs
from tests.simulated_cuda import SimulatedCuda, simulated_cuda
from transforms.randaugment import NAMES
from utils import batches, precision
from utils.evaluation.inference import InferenceOptions
from utils.evaluation.label_map import label_map
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.predictor import Predictor
from utils.training.ema import Ema
from utils.training.recovery import restore_buffers

CUDA, META = torch.device("cuda", 0), torch.device("meta")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES = 5
# by a copy of such a tensor
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
# the last has depthwise convolutions, and normalizations that are followed by an activation
every_network = pytest.mark.parametrize(
    "name", [*network.names(), "sfnet_lite_timm:test_efficientnet"]
)
every_criterion = pytest.mark.parametrize(
    "criterion", COMBINED, ids=lambda criterion: type(criterion).__name__
)


@pytest.fixture
def cuda() -> Iterator[SimulatedCuda]:
    with simulated_cuda() as simulated:
        yield simulated


def build(name: str, device: torch.device) -> nn.Module:
    """The network with its auxiliary heads, with its parameters on a device."""
    if ":" in name:
        pytest.importorskip("timm", reason="the extra `timm` has its backbone")
    with torch.device(device):
        has_body_edge = network.has_body_edge_outputs(name)
        return network.build(name, NUM_CLASSES, deep_supervision=not has_body_edge)


def is_on(device: torch.device, tensors: dict[str, Tensor]) -> bool:
    return all(tensor.device == device for tensor in tensors.values())


@every_network
def test_a_network_computes_on_a_gpu(cuda: SimulatedCuda, name: str) -> None:
    net, images = build(name, CUDA), torch.empty(2, 3, 64, 64, device=CUDA)
    cuda.waits.clear()
    with precision.autocast(CUDA, "fp16"):
        trained = net.train()(images, upsample=False)
    with torch.no_grad():
        evaluated = net.eval()(images)
    assert is_on(CUDA, {**trained, **evaluated}) and len(trained) > len(evaluated) == 1
    assert trained["main"].dtype == torch.float16 and evaluated["main"].dtype == torch.float32
    assert evaluated["main"].shape == (2, NUM_CLASSES, 64, 64)
    assert cuda.waits == []


@every_network
def test_a_networks_backward_pass_needs_no_value_of_the_device(name: str) -> None:
    net = build(name, META).train()
    outputs = net(torch.empty(2, 3, 64, 64, device=META), upsample=False)
    sum(output.sum() for output in outputs.values()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@every_criterion
@pytest.mark.parametrize("size", [16, 4], ids=["at label size", "upsampled"])
def test_a_criterion_computes_on_a_gpu(
    cuda: SimulatedCuda, criterion: loss.Criterion, size: int
) -> None:
    outputs, labels = case_of_all_outputs(size)
    on_gpu = {name: output.detach().to(CUDA) for name, output in outputs.items()}
    labels, criterion = labels.to(CUDA), copy.deepcopy(criterion).to(CUDA)
    cuda.waits.clear()
    terms = criterion(on_gpu, labels)
    divisors = criterion.normalizers(labels)
    with precision.autocast(CUDA, "fp16"):
        half = criterion({name: output.half() for name, output in on_gpu.items()}, labels)
    assert is_on(CUDA, terms) and is_on(CUDA, half)
    assert is_on(CUDA, {name: n for name, n in divisors.items() if n is not None})
    assert cuda.waits == []


@every_criterion
@pytest.mark.parametrize("size", [16, 4], ids=["at label size", "upsampled"])
def test_a_criterions_backward_pass_needs_no_value_of_the_device(
    criterion: loss.Criterion, size: int
) -> None:
    outputs, labels = case_of_all_outputs(size)
    there = {name: output.detach().to(META).requires_grad_() for name, output in outputs.items()}
    terms = copy.deepcopy(criterion).to(META)(there, labels.to(META))
    gradients = torch.autograd.grad(sum(terms.values()), there["main"])
    assert gradients[0].shape == outputs["main"].shape


@pytest.mark.parametrize("inference", [
    InferenceOptions("whole"),
    InferenceOptions("whole", scales=(0.5, 1.0), flip=True),
    InferenceOptions("pooling", scales=(1.0, 1.5), flip=True, average="logits"),
    InferenceOptions("sliding", (48, 48), windows_per_batch=2, flip=True),
], ids=str)
@pytest.mark.parametrize("fuse", [False, True], ids=["as trained", "fused"])
def test_a_predictor_computes_on_a_gpu(
    cuda: SimulatedCuda, inference: InferenceOptions, fuse: bool
) -> None:
    # as `eval.load_predictor` does it: the network is built and fused on the CPU
    net = network.build("sfnet_lite_dfnetv1", NUM_CLASSES)
    if fuse:
        net = network.fuse_for_inference(net)
        precision.round_weights(net, "fp16")
    predictor = Predictor(net, CUDA, "fp16", MEAN, STD, channels_last=True, inference=inference)
    images = torch.zeros(2, 3, 64, 80, dtype=torch.uint8)
    labels, probabilities = predictor.labels(images), predictor.probabilities(images)
    assert (labels.device, labels.shape, labels.dtype) == (CUDA, (2, 64, 80), torch.uint8)
    assert probabilities.device == CUDA and probabilities.dtype == torch.float32
    assert predictor.logits(images).shape == (2, NUM_CLASSES, 64, 80)


def test_labels_of_a_gpu_need_no_value_of_it(cuda: SimulatedCuda) -> None:
    labels = label_map(torch.empty(1, NUM_CLASSES, 16, 32, device=CUDA), (128, 256))
    assert labels.device == CUDA and cuda.waits == []


@pytest.mark.parametrize("blur", [None, transforms.GaussianBlur()], ids=["color", "and blur"])
def test_a_batch_is_augmented_and_normalized_without_waiting(
    cuda: SimulatedCuda, blur: transforms.GaussianBlur | None
) -> None:
    augmentation = transforms.GpuColorAugmentation(transforms.ColorJitter(), blur)
    drawn = [augmentation.draw(np.random.default_rng(seed)) for seed in range(2)]
    batch = {"image": torch.zeros(2, 3, 32, 48, dtype=torch.uint8),
             "label": torch.zeros(2, 32, 48, dtype=torch.uint8),
             **{key: torch.stack([values[key] for values in drawn]) for key in drawn[0]}}
    ready = batches.prepare(batch, CUDA, MEAN, STD, channels_last=True,
                            augment=augmentation.augment)
    assert ready["image"].device == ready["label"].device == CUDA
    assert ready["image"].is_contiguous(memory_format=torch.channels_last)
    assert cuda.waits == []


@pytest.mark.parametrize("operation", NAMES)
def test_an_operation_of_randaugment_stays_on_the_gpu(
    cuda: SimulatedCuda, operation: str
) -> None:
    pytest.importorskip("torchvision", reason="RandAugment computes with torchvision")
    images = torch.zeros(2, 3, 8, 12, dtype=torch.uint8, device=CUDA)
    labels = torch.zeros(2, 8, 12, dtype=torch.uint8, device=CUDA)
    changed, moved = transforms.RandAugment().apply(images, labels, [f"{operation}:0.3"] * 2)
    assert changed.device == moved.device == CUDA
    assert (changed.shape, moved.shape) == (images.shape, labels.shape)


def test_a_confusion_matrix_counts_what_a_gpu_predicts(cuda: SimulatedCuda) -> None:
    matrix = ConfusionMatrix(NUM_CLASSES, device=CUDA)
    labels = torch.zeros(8, 8, dtype=torch.uint8)
    counts = matrix.update(torch.zeros(8, 8, dtype=torch.uint8, device=CUDA), labels)
    assert counts.device.type == "cpu" and matrix.matrix.device == CUDA
    assert counts.sum() == 0 and matrix.iou().isnan().all()


def test_weights_are_averaged_and_buffers_restored_without_waiting(cuda: SimulatedCuda) -> None:
    net = build("sfnet_dfnetv1", CUDA)
    average = Ema(net, 0.99)
    cuda.waits.clear()
    average.update(net, step=3)
    restore_buffers(net, [buffer.clone() for buffer in net.buffers()])
    assert is_on(CUDA, average.net.state_dict()) and cuda.waits == []


def test_a_tensor_of_the_cpu_in_a_forward_pass_is_found(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on a CPU nothing would show it
    grid = alignment._make_grid
    monkeypatch.setattr(alignment, "_make_grid", lambda height, width, device, dtype: grid(
        height, width, torch.device("cpu"), dtype))
    net = build("sfnet_lite_dfnetv1", CUDA).eval()
    with pytest.raises(RuntimeError, match=r"two devices, (cpu and cuda:0|cuda:0 and cpu)"):
        net(torch.empty(1, 3, 64, 64, device=CUDA))


@pytest.mark.parametrize(("read", "operator"), [
    (lambda values: values.sum().item(), "aten._local_scalar_dense.default"),
    (lambda values: bool(values.any()), "aten._local_scalar_dense.default"),
    (lambda values: values.cpu(), "aten._to_copy.default"),
    (lambda values: values.new_tensor([1.0, 2.0]), "aten._to_copy.default"),
    (lambda values: torch.equal(values, values), "aten.equal.default"),
    (lambda values: values[values > 0], "aten.index.Tensor"),
    (lambda values: (values > 0).nonzero(), "aten.nonzero.default"),
], ids=["item", "bool", "cpu", "new_tensor", "equal", "mask", "nonzero"])
def test_what_makes_the_host_wait_is_counted(
    cuda: SimulatedCuda, read: Callable[[Tensor], object], operator: str
) -> None:
    values = torch.empty(4, device=CUDA)
    assert cuda.waits == []
    # the size of a result that depends on values is unknown here
    with suppress(RuntimeError):
        read(values)
    assert cuda.waits[0] == operator


def test_what_is_copied_ahead_makes_nobody_wait(cuda: SimulatedCuda) -> None:
    values = torch.arange(4.0).to(CUDA, non_blocking=True)
    values.masked_fill_(values > 2, 0.0)
    values[1:3] = 3.0
    assert cuda.waits == [] and torch.arange(4).sum().item() == 6


def test_rows_of_a_fusion_are_chunked_on_a_cpu_alone(cuda: SimulatedCuda) -> None:
    with torch.device(CUDA):
        fusion = Fusion(8, 4, NUM_CLASSES)
    fusion.chunked = True
    assert fusion([torch.empty(1, 4, 80, 8, device=CUDA)] * 2).shape == (1, NUM_CLASSES, 80, 8)
