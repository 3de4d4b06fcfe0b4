"""Loading weights strictly: checkpoints of runs and published checkpoints.

`network.checkpoints.keys` holds the differences between published keys and our own.
"""
from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from network.checkpoints import WeightsError
from network.checkpoints.files import listing, read
from network.checkpoints.keys import (
    classifier_keys,
    drop_unused,
    guess_architecture,
    has_head,
    is_auxiliary,
    is_training_head,
    published_key,
)
from network.model import SceneParser

# Parts of keys that wrappers of the network, or of a submodule, insert: DataParallel and averaged
# models, torch.compile, FSDP, activation checkpointing, Lightning Fabric.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
            "_forward_module")
# The counter that `torch.optim.swa_utils.AveragedModel` adds to the state dict.
AVERAGING_COUNTER = "n_averaged"
# Attributes under which a user's training class, such as a LightningModule, holds the network.
ATTRIBUTES = ("model", "net", "network")
# Where a checkpoint may hold its state dict.
NESTINGS = ("state_dict", "model_state_dict", "model", "net", "module")
@dataclass(frozen=True)
class Report:
    """The result of `load`, as lists of published keys.

    Attributes:
        loaded: keys that were loaded from the file.
        dropped: keys of the file that the network does not have.
        random: keys of the network whose values stay random.
        averaged: whether the loaded weights are the averaged ones of a run.
        file: the ImageNet file that was read; the text of the report gives its SHA-256.
    """

    loaded: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    random: tuple[str, ...] = ()
    averaged: bool = False
    file: Path | None = None

    def __str__(self) -> str:
        kind = "averaged tensors" if self.averaged else "tensors"
        clauses = [f"{len(self.loaded)} {kind} loaded"]
        if self.file is not None:
            digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
            clauses[0] += f" from {self.file} (SHA-256 {digest})"
        if self.dropped:
            clauses.append(f"{len(self.dropped)} left out: {listing(self.dropped)}")
        if self.random:
            clauses.append(f"{len(self.random)} kept random: {listing(self.random)}")
        return "; ".join(clauses)


def load(net: SceneParser, path_or_state_dict: str | Path | Mapping[str, Any],
         reset_classifier: bool = False, init_aux: bool = False,
         ema: bool | None = False) -> Report:
    """Loads weights strictly: every key must be present, known, and of the right shape.

    There are three exceptions, which the report names. Auxiliary heads of the file, and what else
    only its training needed, are dropped if the network has none. With `reset_classifier`, a
    classifier of another class count stays random; with `init_aux`, so do auxiliary heads that the
    file lacks.

    Args:
        net: a network of `network.build`.
        path_or_state_dict: a file, a dict returned by `read`, or a state dict under published
            keys or those of `net`.
        reset_classifier: keeps a random classifier if that of the file has another class count.
        init_aux: keeps random auxiliary heads if the file has none.
        ema: whether to take the averaged weights of a run's checkpoint; None decides by
            `prefers_averaged`.

    Raises:
        FileNotFoundError: as in `read`.
        WeightsError: as in `read`; or keys are missing, unexpected or of another shape, which the
            message lists; or weights are not finite. The network is unchanged then.
    """
    if isinstance(path_or_state_dict, str | Path):
        source, payload = str(path_or_state_dict), read(path_or_state_dict)
    else:
        source, payload = "the given state dict", dict(path_or_state_dict)
    averaged = prefers_averaged(payload) if ema is None else ema
    given = {published_key(net, key): value
             for key, value in state_dict(payload, averaged, source, net.state_dict()).items()}
    own_keys = {published_key(net, key): key for key in net.state_dict()}
    expected = published_state_dict(net)
    usable, dropped = drop_unused(net, given)
    for is_optional in (is_auxiliary, is_training_head):
        if not any(is_optional(net, key) for key in expected):
            dropped += [key for key in usable if is_optional(net, key)]

    comparison = Comparison.of(expected, usable, classifier_keys(net))
    random = [*comparison.classifier] if reset_classifier else []
    if init_aux:
        random += [key for key in comparison.missing if is_auxiliary(net, key)]
    problems = comparison.problems({*dropped, *random}, "the network")
    if problems:
        advice = _advice(net, payload, given, comparison)
        raise WeightsError("\n  ".join([f"{source} does not fit the network{advice}", *problems]))
    loaded = [key for key in expected if key in usable and key not in random]
    require_finite(source, {key: usable[key] for key in loaded})
    net.load_state_dict({own_keys[key]: usable[key] for key in loaded}, strict=False)
    return Report(tuple(loaded), tuple(dropped), tuple(random), averaged)


def prefers_averaged(payload: Mapping[str, Any]) -> bool:
    """Returns whether a checkpoint has averaged weights, and its run did not validate only others.
    """
    args = payload.get("args") or {}
    return payload.get("ema") is not None and args.get("eval_weights") != "raw"


def require_finite(source: str, tensors: Mapping[str, Tensor]) -> None:
    """Raises WeightsError if a tensor holds NaN or infinite values."""
    not_finite = [key for key, value in tensors.items() if not value.isfinite().all()]
    if not_finite:
        raise WeightsError(f"{source} holds values that are not finite (NaN or infinite), in "
                           f"{listing(not_finite)}: its training diverged, or the file is damaged. "
                           "Use an earlier checkpoint, or copy the file again")


def published_state_dict(net: SceneParser) -> dict[str, Tensor]:
    """Returns the state dict under the published keys, the form in which checkpoints are saved."""
    return {published_key(net, key): value for key, value in net.state_dict().items()}


def state_dict(payload: Mapping[str, Any], ema: bool, source: str,
               own_keys: Iterable[str] = ()) -> dict[str, Tensor]:
    """Returns the tensors of a dict of `read`, under keys without the names of wrappers.

    Wrappers may be nested in any order, and may be around submodules of the network.

    Args:
        ema: whether to return the averaged weights of a run's checkpoint.
        source: the name of the file, for errors.
        own_keys: the keys of the network. A few models of timm have a submodule named `module`,
            which is not a wrapper.

    Raises:
        WeightsError: there are no tensors, there are other values among them, or two tensors have
            the same key without wrappers.
    """
    if ema:
        if not isinstance(payload.get("ema"), Mapping):
            raise WeightsError(f"{source} holds no averaged weights: its run averaged none")
        payload = payload["ema"]
    while nesting := next((name for name in NESTINGS if isinstance(payload.get(name), Mapping)),
                          None):
        payload = payload[nesting]
    foreign = [key for key, value in payload.items() if not isinstance(value, Tensor)]
    if foreign or not payload:
        reason = f"{listing(foreign)} are not tensors" if foreign else "it is empty"
        raise WeightsError(f"{source} is not a state dict: {reason}")
    own_parts = {part for key in own_keys for part in key.split(".")}
    tensors: dict[str, Tensor] = {}
    for key, value in payload.items():
        bare = _without_wrappers(key, own_parts)
        if bare == AVERAGING_COUNTER:
            continue
        if bare in tensors:
            raise WeightsError(f"{source} is not a state dict: without the names of wrappers, two "
                               f"tensors are called {bare}")
        tensors[bare] = value
    return _without_attribute(tensors)


def _without_wrappers(key: str, own_parts: Collection[str]) -> str:
    """Removes all wrappers from the front of a key, and from elsewhere all but `own_parts`."""
    parts = key.split(".")
    while len(parts) > 1 and parts[0] in WRAPPERS:
        parts = parts[1:]
    return ".".join(part for part in parts if part not in WRAPPERS or part in own_parts)


def _without_attribute(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of a whole network without the attribute that held it, if one did.

    A backbone of timm starts all of its keys with `model.` too, but it has no head.
    """
    first_parts = {key.partition(".")[0] for key in tensors}
    if len(first_parts) != 1 or first_parts.isdisjoint(ATTRIBUTES):
        return tensors
    inner = {key.partition(".")[2]: value for key, value in tensors.items()}
    return inner if has_head(inner) else tensors


@dataclass(frozen=True)
class Comparison:
    """The differences between the tensors of a file and the expected ones.

    Attributes:
        expected, given: key -> tensor, of the network and of the file.
        missing: keys that the file lacks.
        unexpected: keys that only the file has.
        reshaped: keys of both, with different shapes.
        classifier: those of `reshaped` whose shape depends on the class count.
    """

    expected: Mapping[str, Tensor]
    given: Mapping[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    classifier: list[str]

    @classmethod
    def of(cls, expected: Mapping[str, Tensor], given: Mapping[str, Tensor],
           classifier: Collection[str] = ()) -> Comparison:
        reshaped = [key for key, value in expected.items()
                    if key in given and given[key].shape != value.shape]
        return cls(
            expected,
            given,
            missing=[key for key in expected if key not in given],
            unexpected=[key for key in given if key not in expected],
            reshaped=reshaped,
            classifier=[key for key in reshaped if key in classifier],
        )

    def problems(self, excused: Collection[str], where: str) -> list[str]:
        """Returns a line for each kind of difference, without the excused keys.

        Args:
            where: what the file is compared with, for the text.
        """
        lines = []
        for keys, kind in ((self.missing, "missing from the file"),
                           (self.unexpected, f"not in {where}")):
            keys = [key for key in keys if key not in excused]
            if keys:
                lines.append(f"{len(keys)} {kind}: {listing(keys)}")
        lines += [f"{key}: {tuple(self.given[key].shape)} in the file, "
                  f"{tuple(self.expected[key].shape)} in {where}"
                  for key in self.reshaped if key not in excused]
        return lines


def _advice(net: SceneParser, payload: Mapping[str, Any], given: Mapping[str, Tensor],
            comparison: Comparison) -> str:
    """Returns the most likely cause and its remedy, to follow "does not fit the network"."""
    missing, reshaped = comparison.missing, comparison.reshaped
    if reshaped and reshaped == comparison.classifier and not missing:
        return (": it was trained on another number of classes. Choose its dataset, or start with "
                "a random classifier, reset_classifier=True.")
    if missing and all(is_auxiliary(net, key) for key in missing) and not reshaped:
        return (": it has no auxiliary heads. Build the network without deep supervision, or "
                "start with random ones, init_aux=True.")
    guess, built = guess_architecture(given), guess_architecture(comparison.expected)
    stored = payload.get("arch") or guess
    # the keys of a network on a timm backbone only show its family
    if stored and guess not in (None, stored.partition(":")[0], built):
        return f": it says that it is {stored}, but its tensors look like those of {guess}."
    if stored is None:
        return ": it holds a network that is not one of those here."
    if stored == built:
        return f": it looks like {stored}, but damaged, or with other options than the network's."
    return (f": it looks like {stored}, not {built}. Choose the architecture of the file, "
            f"arch={stored}.")
