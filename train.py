"""Trains a semantic segmentation network. `python train.py --help` lists the flags.

`Training.train` is the training loop, `Training.train_step` is one step of it. `tools.pretrain`
trains a classifier by the same loop.
"""
from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import datasets
import loss
import network
import optimizer
import transforms
from network.alignment import recorded_flows
from network.checkpoints.paths import checkpoint_path
from network.model import SceneParser
from optimizer import OptimizerOptions, ScheduleOptions
from utils import batches, cli, distributed, precision
from utils.logs import start_logging
from utils.training import checkpoint, ema, first_steps, memory, micro_batches, recovery, run_log
from utils.training import options as flag_rules
from utils.training.intervals import Intervals
from utils.training.micro_batches import MicroBatches, gradient_sync, sum_of, weighted
from utils.training.run_folder import claimed, log_closing_summary, log_stop, open_folder
from utils.training.signals import Interrupted, Interrupts
from utils.training.teacher import Teacher, set_checksum
from utils.training.validation import Validator

# an edge of --boundary_width may take this part of the shorter side of a crop: 1 / WIDEST_EDGE
WIDEST_EDGE = 8


@dataclass(frozen=True)
class LoopOptions(flag_rules.RunOptions):
    """The options of the loop: those of `utils.training`, of the optimizer and its rate."""

    optimizer: OptimizerOptions
    schedule: ScheduleOptions


@dataclass(frozen=True)
class Options(LoopOptions):
    """The options of a run: those of the loop, and one class for each other package."""

    data: datasets.DataOptions
    transforms: transforms.TransformOptions
    network: network.NetworkOptions
    loss: loss.LossOptions


def build_parser() -> cli.FlagParser:
    parser = cli.FlagParser(prog="train.py", description="Train a semantic segmentation network.",
                            retired=flag_rules.RETIRED, common=flag_rules.COMMON_FLAGS)
    for package in (datasets, transforms, network, loss, optimizer, flag_rules):
        package.add_flags(parser)
    return parser


def parse(argv: Sequence[str] | None = None) -> Options:
    """Reads the command line; its flags win over those of a resumed run or a recipe."""
    parser = build_parser()
    try:
        args, origins = flag_rules.resolve_flags(parser, argv, default_name, set_dependent_flags)
        options = Options.from_args(args)
        check_flags(options)
        if options.run.print_config:
            check_parts(options)
    except (ValueError, OSError) as error:
        parser.error(network.with_flags(str(error)))
    if options.run.print_config:
        print(flag_rules.format_flags(args, origins))
    return options


def default_name(flags: dict[str, Any]) -> str:
    """Returns the name of a run without `--exp`."""
    return f"{datasets.spec(flags['dataset']).name}_{flags['arch']}".replace(":", "_")


def set_dependent_flags(args: Namespace) -> None:
    """Sets the flags whose default depends on other flags, in place."""
    args.crop_size = args.crop_size or datasets.spec(args.dataset).crop_size
    if args.joint_edgeseg_loss is None:
        args.joint_edgeseg_loss = network.has_body_edge_outputs(args.arch)
    flag_rules.set_batch_sizes(args)
    set_checksum(args, checkpoint_path)


def check_flags(options: Options) -> None:
    """Raises ValueError if flags of different packages exclude or miss each other."""
    arch, losses, intervals = options.network.arch, options.loss, options.intervals
    if losses.joint_edgeseg_loss and not network.has_body_edge_outputs(arch):
        raise ValueError(f"{arch} has no body and edge outputs to train: leave out "
                         "--joint_edgeseg_loss, or take --arch decouple_resnet50")
    if options.network.freeze_backbone and (losses.trains_features or losses.boundary_weight):
        raise ValueError("--freeze_backbone keeps the features that --boundary_weight and "
                         "--distill cwd_feature and feature train: leave it out, or those")
    height, width = options.transforms.crop_size
    # a scene has several edges across a crop, which would cover most of it
    widest = max(2, min(height, width) // WIDEST_EDGE // 2 * 2)
    if losses.boundary_weight and losses.boundary_width > widest:
        raise ValueError(f"--boundary_width {losses.boundary_width}: edges so wide cover most of "
                         f"the crops of {height}x{width}, and take long: give at most {widest}")
    if losses.rlx_off_epoch and not options.schedule.restarts:
        losses.check_used("rlx_off_epoch")
    last_epoch = None if intervals.max_iters else intervals.max_epoch
    options.schedule.check_restart(losses.rlx_off_epoch, last_epoch)


def check_parts(options: Options) -> None:
    """Raises what a run raises before it reads its data, for `--print_config`."""
    options.check_machine()
    loss.build(options.loss, class_names=options.data.spec.names)
    net = network.build(options.network.arch, options.data.spec.num_classes,
                        options.network.deep_supervision, **options.network.build_options)
    # the other training head, a projection, has no normalization that could fail
    net.add_training_heads(boundary=options.loss.boundary_weight > 0)
    freeze_parts(net, options)
    network.load_teacher(options.network.teacher, options.data.spec)


def freeze_parts(net: SceneParser, options: Options) -> None:
    """Freezes what the flags exclude from training; raises ValueError if the rest cannot train."""
    has_body_edge = network.has_body_edge_outputs(options.network.arch)
    net.freeze(backbone=options.network.freeze_backbone, norms=options.network.fix_bn,
               training_only=has_body_edge and not options.loss.joint_edgeseg_loss)
    network.check_batch_statistics(net, options.transforms.crop_size,
                                   images=options.batching.images_per_norm)


class StepResult(NamedTuple):
    """A step of the optimizer, as it is logged.

    Attributes:
        terms: this process's terms of the loss, weighted so that their mean over the processes is
            the loss of the step. None if the step was skipped.
        grad_norm: of the whole gradient before clipping, a scalar on the device. None if it was
            not computed.
        lr: the learning rate of the step, without the factors of the parameter groups.
    """

    terms: dict[str, Tensor] | None
    grad_norm: Tensor | None
    lr: float


class Training:
    """A run: a network, its data and optimizer, and the loop that trains it.

    Attributes:
        program: what follows `python` in the command that goes on with the run.
        restart_epoch: the epoch in which the schedule restarts.
        momentum_of: the checkpoint from which a new run takes its optimizer's momentum.
        teacher: its outputs join those of the network, for the criterion.
        augment: augmentation of a batch on the device.
        sources: what checkpoints record of the images of --extra_data.
    """

    program = "train.py"
    restart_epoch: int | None = None
    momentum_of: str | None = None
    teacher: Teacher | None = None
    augment: batches.Augment | None = None
    sources: Sequence[dict[str, Any]] = ()

    def __init__(self, options: Options) -> None:
        self.options = options
        options.run.check_free()
        self.build_criterion()
        self.folder = options.run.folder
        self.is_main = distributed.is_main()
        self.device = precision.default_device()
        self.precision = options.precision.apply(self.device, one_size=True)
        self.criterion.to(self.device)
        # a new run has no folder before its parts are built
        self.claim = ExitStack()
        if options.run.resume:
            self.claim_folder()
        state = checkpoint.newest(self.folder, network.weights.read) if options.run.resume else None
        datasets.check_same_data(state, self.spec, self.folder)
        flag_rules.check_same_run(options.flags, state["step"] if state else 0)
        checkpoint.restore_links(self.folder, state, network.weights.read)
        # the same weights on all ranks, and different dropout masks
        torch.manual_seed(options.run.seed)
        weights_note = self.build_network(state)
        torch.manual_seed(options.run.seed + distributed.rank())
        self.build_data()
        datasets.check_same_sources(state, self.sources, self.folder)
        self.intervals = Intervals(options.intervals, len(self.data.sampler),
                                   options.run.test_mode)
        self.build_model()
        self.build_micro_batches()
        self.build_optimizer()
        self.build_checkpoints()
        self.build_validator()
        self.progress = self.checkpoints.start(state, momentum_of=self.momentum_of)
        self.save_requested = False                 # by rank 0, after `--checkpoint_every` minutes
        self.open_folder()
        self.log_description(weights_note)
        self.build_inspections()

    def build_criterion(self) -> None:
        options = self.options
        self.spec = options.data.spec
        self.criterion = loss.build(options.loss, class_names=self.spec.names)
        self.restart_epoch = options.loss.rlx_off_epoch
        if options.network.restore_optimizer:
            self.momentum_of = options.network.snapshot

    def build_network(self, state: dict[str, Any] | None) -> str:
        """Builds `net` on the CPU, with its normalization and its initial weights.

        Args:
            state: the checkpoint from which the run is resumed, which is loaded later.

        Returns:
            A note for the log about the initial weights.
        """
        options = self.options.network
        self.net = network.build(options.arch, self.spec.num_classes, options.deep_supervision,
                                 **options.build_options)
        network.initialize(self.net, options.init)
        network.set_normalization(self.net, options, resumed=state, mean=self.spec.mean,
                                  std=self.spec.std)
        weights_note = (f"going on from step {state['step']}" if state
                        else network.load_initial_weights(self.net, options))
        self.add_training_parts()
        return weights_note

    def add_training_parts(self) -> None:
        """Adds what no prediction needs: the teacher, and further outputs; freezes parts."""
        options = self.options
        teacher = network.load_teacher(options.network.teacher, self.spec)
        if teacher:
            self.teacher = Teacher(
                teacher, self.net.normalization, device=self.device, precision=self.precision,
                options=options.precision, with_feature=options.loss.trains_features)
        self.net.add_training_heads(
            boundary=options.loss.boundary_weight > 0,
            feature_channels=self.teacher.feature_channels if self.teacher else None)
        freeze_parts(self.net, options)

    def build_data(self) -> None:
        """Builds `data`, with its augmentation in the loader, and `augment`."""
        options, sizes = self.options, self.options.batching.sizes
        transform, on_device = transforms.build(options.transforms)
        self.data = options.data.build_training(
            transform, on_device.draw if on_device else None, seed=options.run.seed,
            batch_size=sizes.bs_mult * sizes.accumulate, rank=distributed.rank(),
            world_size=distributed.world_size())
        self.sources = self.data.describe_sources()
        self.augment = on_device.augment if on_device else None

    def build_model(self) -> None:
        """Moves `net` to the device, and builds its average and `model`, the same `net` in DDP."""
        options = self.options
        precision.move(self.net, self.device, options.precision.channels_last)
        self.ema = ema.build(self.net, options.optimizer.ema_decay)
        self.nets: dict[str, nn.Module] = {"raw": self.net}
        if self.ema:
            self.nets["ema"] = self.ema.net
        if options.step.recompute:
            memory.recompute(self.net.backbone)
        self.model = distributed.wrap(
            self.net, self.device, syncbn=options.batching.syncbn, apex=options.batching.apex,
            accumulate=options.batching.sizes.accumulate)
        if options.precision.compile:
            self.model.compile()

    def build_micro_batches(self) -> None:
        options = self.options
        mean, std = self.net.normalization
        prepare = partial(batches.prepare, device=self.device, mean=mean, std=std,
                          channels_last=options.precision.channels_last, augment=self.augment)
        self.micro_batches = MicroBatches(
            self.criterion, prepare, accumulate=options.batching.sizes.accumulate,
            loss_norm=options.batching.loss_norm)

    def build_optimizer(self) -> None:
        """Builds the optimizer, its schedule, and what scales, clips and checks the gradient."""
        options = self.options
        self.optimizer = optimizer.build(self.net, options.optimizer,
                                         global_batch=options.batching.sizes.global_batch)
        self.schedule = optimizer.build_schedule(
            self.optimizer, options.schedule, total_steps=self.intervals.total_steps,
            steps_per_epoch=len(self.data.sampler), restart_epoch=self.restart_epoch)
        self.max_norm = options.optimizer.clip_grad
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        if self.scaler.is_enabled():
            # the first steps may be skipped, until the loss scale fits; the schedule goes on
            warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler\.step\(\)` before")
        self.skip_bad_steps = recovery.SkipBadSteps(self.net, self.optimizer, self.scaler,
                                                    options.step.on_nan)

    def build_checkpoints(self) -> None:
        options = self.options
        mean, std = self.net.normalization
        self.checkpoints = checkpoint.Checkpoints(
            self.folder, self.nets,
            {"optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler},
            arch=options.flags["arch"], spec=self.spec, flags=options.flags, device=self.device,
            mean=mean, std=std, weights=network.weights, steps_per_epoch=len(self.data.sampler),
            sources=self.sources)

    def build_validator(self) -> None:
        options = self.options
        mean, std = self.net.normalization
        self.validator = Validator(
            self.data.val_set, self.nets, options.validation, load=self.data.load_validation,
            device=self.device, precision=self.precision, mean=mean, std=std,
            channels_last=options.precision.channels_last, record_flows=recorded_flows,
            syncbn=options.batching.syncbn)

    def fit(self, interrupts: Interrupts) -> None:
        """Runs the training loop, again after a rewind; raises Interrupted after a signal."""
        self.interrupts = interrupts
        # a resumed run may have been stopped in its validation
        if self.validation_is_due():
            self.validate()
            self.save()
        while self.progress.step < self.intervals.total_steps:
            try:
                self.train()
            except recovery.NotFinite as error:
                self.progress = self.checkpoints.rewind(error, self.progress,
                                                        self.options.step.on_nan)
                self.log.rewind(self.progress)

    def train(self) -> None:
        """The training loop, from the current step to the last; raises NotFinite."""
        window = run_log.Window()
        for batch in window.timed(self.load_batches()):
            should_log = self.intervals.should_log(self.progress.step + 1)
            if self.progress.step + 1 in self.progress.skipped_steps:
                result = self.leave_step_out()
            else:
                for inspect in self.inspections:
                    inspect(batch, self.progress.step)
                result = self.train_step(batch, want_norm=should_log)
            self.progress.step += 1
            window.add(self.progress.step, batch["name"], result.terms)
            if should_log:
                losses = recovery.finite_means(window, self.net, result.lr, self.folder)
                self.log.log_window(window, losses, self.progress.step, result.lr,
                                    result.grad_norm)
            if self.validation_is_due() or self.save_is_due():
                # raises NotFinite, so that bad weights are neither evaluated nor saved
                recovery.finite_means(window, self.net, result.lr, self.folder)
                with window.paused():
                    if self.validation_is_due():
                        self.validate()
                    self.save()
            self.log.show_step(self.progress.step)
            request = self.is_main and self.intervals.should_request_save()
            self.save_requested = self.interrupts.synchronize(request)

    def load_batches(self) -> Iterator[batches.Batch]:
        """Yields this process's batches from the current step on, epoch after epoch."""
        while self.progress.step < self.intervals.total_steps:
            epoch, position = divmod(self.progress.step, len(self.data.sampler))
            self.data.sampler.set_position(epoch, position)
            self.criterion.set_epoch(epoch)
            for batch in batches.ahead_on_device(self.data.loader, self.device):
                self.criterion.set_step(self.progress.step)
                yield batch
                if self.progress.step >= self.intervals.total_steps:
                    return

    def train_step(self, batch: batches.Batch, want_norm: bool = False) -> StepResult:
        """Takes one step of the optimizer.

        Args:
            batch: this process's images of the step, all micro-batches in one.
            want_norm: computes `grad_norm`, for the log.
        """
        self.model.train()
        self.skip_bad_steps.begin_step()
        self.optimizer.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        for index, (micro_batch, weights) in enumerate(self.micro_batches(batch), start=1):
            is_last = index == self.micro_batches.accumulate
            with gradient_sync(self.model, enabled=is_last):
                with precision.autocast(self.device, self.precision):
                    outputs = self.model(micro_batch["image"], upsample=False)
                if self.teacher:
                    outputs |= self.teacher(micro_batch["image"])
                losses = weighted(self.criterion(outputs, micro_batch["label"]), weights)
                self.scaler.scale(sum_of(losses)).backward()
            micro_batches.add_terms(terms, losses)
        lr = optimizer.base_rate(self.schedule)
        grad_norm = None
        if self.max_norm or want_norm or self.skip_bad_steps.enabled:
            grad_norm = micro_batches.clip_gradients(self.scaler, self.optimizer, self.net,
                                                     self.max_norm)
        if self.skip_bad_steps.should_skip(grad_norm):
            self.skip_bad_steps.skip(self.progress.step + 1, batch["name"], lr)
            self.schedule.step()
            return StepResult(None, grad_norm, lr)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.ema:
            self.ema.update(self.net, self.progress.step)
        return StepResult(terms, grad_norm, lr)

    def leave_step_out(self) -> StepResult:
        """Moves only the schedule: the loss of this step was not finite before a rewind."""
        lr = optimizer.base_rate(self.schedule)
        self.schedule.step()
        return StepResult(None, None, lr)

    def validation_is_due(self) -> bool:
        step = self.progress.step
        return (self.data.val_set is not None and self.progress.validated != step
                and self.intervals.should_validate(step))

    def validate(self) -> None:
        self.progress.record_validation(self.evaluate())

    def evaluate(self) -> float:
        """Evaluates the network on the validation images, each once, and logs the result.

        Returns:
            The score by which `best.pth` is chosen, in [0, 1].
        """
        results = self.validator.evaluate(self.interrupts)
        step = self.progress.step
        return self.validator.log_results(self.log, results, step=step,
                                          epoch=self.intervals.epoch(step))

    def save_is_due(self) -> bool:
        return self.intervals.should_save(self.progress.step) or self.save_requested

    def save(self) -> None:
        """Writes a checkpoint of this step, with the log lines so far."""
        self.progress.metrics = self.log.text()
        self.checkpoints.save(self.progress)
        self.intervals.restart_clock()

    def claim_folder(self) -> None:
        """Keeps other processes from training in the run's folder, until `close`."""
        if self.is_main:
            self.claim.enter_context(claimed(self.folder))

    def open_folder(self) -> None:
        """Opens the run's folder and its log."""
        if not self.options.run.resume:
            self.claim_folder()
        open_folder(self.options.run, self.options.flags, device=self.device,
                    precision=self.precision, data_files=self.data.files())
        self.log: run_log.RunLog = run_log.RunLog(
            self.folder, self.options.run.tensorboard, self.progress, device=self.device,
            total_steps=self.intervals.total_steps, steps_per_epoch=len(self.data.sampler),
            quiet=not self.is_main, teacher=self.teacher, tracker=self.options.tracking.open(
                self.folder, self.options.flags, quiet=not self.is_main))
        self.log.write_sampling(self.data.plan.class_draws(0), self.spec.names)

    def log_description(self, weights_note: str) -> None:
        """Describes the run in its log."""
        options = self.options
        mean, std = self.net.normalization
        notes = [*self.data.plan.describe(self.spec.names), weights_note,
                 f"images are normalized with mean {mean} and standard deviation {std}"]
        if self.teacher:
            notes += self.teacher.describe(options.flags)
        first_steps.log_description(
            options, self.net, dataset=self.spec.source or self.spec.name,
            images=len(self.data.train_set), total_steps=self.intervals.total_steps,
            device=self.device, precision=self.precision, notes=notes,
            warnings=self.find_data_problems() if self.is_main else ())

    def build_inspections(self) -> None:
        """Builds what the flags ask to look at in the batches of the first steps."""
        options = self.options
        self.inspections: list[first_steps.Inspection] = []
        if options.step.memory_estimate:
            self.inspections.append(first_steps.MemoryEstimate(
                self.model, self.micro_batches, self.optimizer, device=self.device,
                precision=self.precision, teacher=self.teacher))
        if options.run.dump_augmentation_images and self.is_main:
            self.inspections.append(first_steps.AugmentedImages(
                self.folder, self.micro_batches.prepare, self.net.normalization, self.spec))

    def find_data_problems(self) -> Iterable[str]:
        """Returns warnings about the training images."""
        crops = self.options.transforms
        padding = datasets.describe_padding(self.data.train_set.samples, crops.crop_size,
                                            scale=(crops.scale_min + crops.scale_max) / 2)
        return [*self.data.find_problems(), *filter(None, [padding])]

    def finish(self) -> None:
        """Logs the results of a finished run."""
        replaced = sum(distributed.gather(self.data.replaced_images))
        log_closing_summary(self.options.run, self.progress, self.options.data.eval_flags(),
                            replaced)

    def close(self) -> None:
        self.log.close()
        self.claim.close()


def run(options: Options) -> int:
    """Trains; returns the exit code."""
    return run_loop(partial(Training, options), options.batching.timeout)


def run_loop(build: Callable[[], Training], timeout: float) -> int:
    """Joins the processes, builds a run and trains it; returns the exit code.

    Args:
        timeout: minutes that a process waits for a silent one.
    """
    start_logging()
    distributed.start(timeout)
    with (network.flags_in_errors(), closing(build()) as training,
          Interrupts(agreed=True) as interrupts):
        try:
            training.fit(interrupts)
        except Interrupted as stop:
            training.save()
            log_stop(stop, training.progress, training.folder, training.program)
            return stop.exit_code
        training.finish()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    if options.run.print_config:
        return 0
    return cli.run_program("train.py", partial(run, options), resume=flag_rules.RESUME_HINT,
                           less_memory=flag_rules.LESS_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
