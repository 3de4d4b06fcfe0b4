"""The flags that choose and combine the criteria, and those that exclude each other."""
from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import loss
import train
from loss.options import CRITERIA, LossOptions
from utils.cli import FlagParser

NAMES = ("road", "car", "sky")


def build(*flags: str) -> loss.Criterion:
    options = LossOptions.from_args(train.build_parser().parse_args(flags))
    return loss.build(options, class_names=NAMES)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("", loss.CrossEntropy),
        ("--ohem", loss.OhemCrossEntropy),
        ("--focal 2", loss.FocalLoss),
        ("--img_wt_loss --wt_bound 2", loss.ImageWeightedCrossEntropy),
        ("--jointwtborder", loss.RelaxedCrossEntropy),
        ("--img_wt_loss --batch_weighting", loss.ImageWeightedCrossEntropy),
        ("--fpn_dsn_loss", loss.DeepSupervision),
        ("--ohem --aux", loss.DeepSupervision),
        ("--ohem --lovasz_weight 1 --dice_weight 0.5", loss.SumOfLosses),
        ("--jointwtborder --joint_edgeseg_loss", loss.JointBodyEdgeLoss),
        ("--label_smoothing 0.1", loss.CrossEntropy),
        ("--fpn_dsn_loss --boundary_weight 20 --boundary_width 2", loss.SumOfLosses),
    ],
)
def test_flags_choose_a_criterion_that_trains(flags: str, kind: type) -> None:
    criterion = build(*flags.split())
    assert type(criterion) is kind
    outputs = {
        "main": torch.randn(2, 3, 8, 8),
        "aux0": torch.randn(2, 3, 4, 4),
        "body": torch.randn(2, 3, 4, 4),
        "edge": torch.randn(2, 1, 8, 8),
        "boundary": torch.randn(2, 1, 8, 8),
    }
    outputs["main"].requires_grad_()
    total = sum(criterion(outputs, torch.randint(0, 3, (2, 16, 16))).values())
    total.backward()
    assert total.isfinite() and outputs["main"].grad.abs().sum() > 0


def test_every_flag_is_a_field_with_the_same_default() -> None:
    parser = FlagParser()
    loss.add_flags(parser)
    args = parser.parse_args([])
    names = {field.name for field in fields(LossOptions)}
    # --fpn_dsn_loss and --teacher are flags of the network
    assert vars(args).keys() == names - {"fpn_dsn_loss", "teacher"}
    args.fpn_dsn_loss, args.teacher = False, None
    assert LossOptions.from_args(args) == LossOptions()


def test_every_row_of_the_table_names_fields_of_the_options() -> None:
    names = {field.name for field in fields(LossOptions)}
    assert [row.flag for row in CRITERIA].count(None) == 1
    for row in CRITERIA:
        assert {row.flag or "ohem", *row.keywords} <= names


def test_class_weights_reach_the_criterion(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text('{"sky": 3, "road": 1.0, "car": 0.5}')
    criterion = build("--ohem", "--class_weights", str(path))
    assert criterion.class_weights.tolist() == [1.0, 0.5, 3.0]
    with pytest.raises(FileNotFoundError, match=r"no class weights at nowhere.json"):
        build("--class_weights", "nowhere.json")


def test_flags_reach_the_criterion() -> None:
    relaxed = build(
        "--jointwtborder",
        "--wt_bound",
        "0.5",
        "--strict_bdr_cls",
        "0,2",
        "--rlx_off_epoch",
        "3",
        "--batch_weighting",
    )
    assert (
        relaxed.bound,
        relaxed.strict_classes.tolist(),
        relaxed.off_epoch,
        relaxed.per_batch,
    ) == (0.5, [0, 2], 3, True)
    mined = build("--ohem", "--ohem_thresh", "0.9", "--ohem_min_kept", "0.0625")
    assert (mined.thresh, mined.min_kept) == (0.9, 0.0625)
    assert build("--fpn_dsn_loss").aux_weight == 1 and build("--aux").aux_weight == 0.4
    assert build("--aux", "--aux_weight", "0.2").aux_weight == 0.2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--ohem --focal 2", "--ohem and --focal choose two different losses"),
        ("--img_wt_loss --jointwtborder", "--img_wt_loss and --jointwtborder choose two"),
        (
            "--batch_weighting",
            "--batch_weighting has no effect .* --img_wt_loss or --jointwtborder",
        ),
        (
            "--ohem --label_smoothing 0.1",
            "--label_smoothing has no effect .* the plain cross entropy",
        ),
        ("--strict_bdr_cls 0,1", "--strict_bdr_cls has no effect .* --jointwtborder"),
        ("--jointwtborder --class_weights w.json", "--class_weights has no effect"),
        ("--rlx_off_epoch 4", "--rlx_off_epoch has no effect"),
        ("--aux --fpn_dsn_loss", "add the same auxiliary classifiers"),
        (
            "--aux --arch decouple_resnet50",
            "--aux adds auxiliary classifiers, which no network with body and edge",
        ),
        ("--joint_edgeseg_loss --arch sfnet_resnet18", "sfnet_resnet18 has no body and edge"),
        ("--freeze_backbone --pretrained none", "would keep random weights"),
        ("--lovasz_weight -1", "--lovasz_weight: '-1' is not a number of at least 0"),
        ("--dice_weight -1", "--dice_weight: '-1'"),
        ("--aux --aux_weight -1", "--aux_weight: '-1'"),
        ("--focal -1", "--focal: '-1'"),
        ("--img_wt_loss --wt_bound -1", "--wt_bound: '-1'"),
        (
            "--jointwtborder --rlx_off_epoch -1",
            "--rlx_off_epoch: '-1' is not a whole number of at least 1",
        ),
        (
            "--jointwtborder --strict_bdr_cls 5,x",
            "--strict_bdr_cls: '5,x' is not a list of whole numbers",
        ),
    ],
)
def test_flags_that_exclude_each_other_are_refused_at_once(
    flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.parse(flags.split())
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("flags", "message"), [
    ("--label_smoothing 1", "a fraction in"), ("--ohem --ohem_thresh 1.5", "a probability in"),
    ("--jointwtborder --strict_bdr_cls 3", "names 3, but the train ids are 0 to 2"),
])
def test_settings_out_of_range_are_refused(flags: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(*flags.split())


def test_a_network_with_body_and_edge_gets_the_joint_loss_by_default() -> None:
    assert train.parse(["--arch", "decouple_resnet50"]).loss.joint_edgeseg_loss
    assert not train.parse(["--arch", "sfnet_resnet18"]).loss.joint_edgeseg_loss


@pytest.mark.parametrize(("text", "methods"), [
    ("", {"kl": 1.0}),
    ("--distill cwd", {"cwd": 3.0}),
    ("--distill kl:0.25,cwd_feature,feature:2", {"kl": 0.25, "cwd_feature": 50.0, "feature": 2.0}),
])
def test_a_teacher_adds_the_chosen_methods(text: str, methods: dict[str, float]) -> None:
    criterion = build("--teacher", "net.pth", "--distill_on", "labeled", *text.split())
    assert isinstance(criterion, loss.SumOfLosses)
    added = criterion.criteria[-1]
    assert isinstance(added, loss.Distillation) and added.labeled_only
    assert added.weights == methods


@pytest.mark.parametrize(("text", "message"), [
    ("kll", "'kll' is no method of distillation, did you mean 'kl'?"),
    ("kl,kl", "names kl twice"),
    ("kl:0", "'0' is not a number above 0"),
    ("kl:x", "'x' is not a number above 0"),
])
def test_other_methods_are_refused(
        text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build("--distill", text)
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_temperature_of_a_method_without_one_is_refused() -> None:
    with pytest.raises(ValueError, match="--distill_temperature would be ignored"):
        LossOptions(teacher="net.pth", distill="feature:1", distill_temperature=2.0)


def test_an_edge_has_an_even_width() -> None:
    with pytest.raises(ValueError, match="--boundary_width 3: half of an edge lies in each class"):
        build("--boundary_weight", "20", "--boundary_width", "3")
