from __future__ import annotations

import argparse
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

import network
from network.options import NetworkOptions, add_flags, build_options, flags_in_errors, with_flags


def parse(*words: str) -> NetworkOptions:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    parser.add_argument("--aux", action="store_true")
    return NetworkOptions.from_args(parser.parse_args(words))


def test_without_flags_the_options_have_their_own_defaults() -> None:
    assert parse() == NetworkOptions()


@pytest.mark.parametrize(("words", "expected"), [
    ([], {}),
    (["--fam_levels", "0,2"], {"fam_levels": (0, 2)}),
    (["--fam_levels", "none"], {"fam_levels": ()}),
    (["--final_fams", "--no_final_fams"], {}),
    (["--final_fams", "--context", "sum", "--output_stride", "16"],
     {"final_fams": True, "context": "sum", "output_stride": 16}),
], ids=str)
def test_flags_become_keywords_of_build(words: list[str], expected: dict[str, Any]) -> None:
    assert parse(*words).build_options == expected


def test_settings_at_their_default_are_no_keywords_of_build() -> None:
    settings = {"arch": "x", "fam_levels": None, "final_fams": False, "context": None,
                "output_stride": 16}
    assert build_options(settings) == {"output_stride": 16}


@pytest.mark.parametrize("flag", ["--fpn_dsn_loss", "--aux"])
def test_either_flag_of_deep_supervision_sets_it(flag: str) -> None:
    assert parse(flag).deep_supervision
    assert not parse().deep_supervision


@pytest.mark.parametrize("name", ["reset_classifier", "init_aux", "fix_bn", "freeze_backbone"])
def test_a_switch_is_off_and_turned_on_and_off_by_its_two_flags(name: str) -> None:
    assert not getattr(parse(), name)
    assert getattr(parse(f"--{name}"), name)
    assert not getattr(parse(f"--{name}", f"--no_{name}"), name)


def test_the_architectures_name_is_resolved() -> None:
    assert parse("--arch", "network.sfnet_resnet.DeepR18_SF_deeply").arch == "sfnet_resnet18"


@pytest.mark.parametrize(("values", "message"), [
    ({"arch": "sfnet_resnet81"}, "unknown architecture 'sfnet_resnet81'; did you mean"),
    ({"fam_levels": (0, -1)}, "--fam_levels 0,-1: levels count from 0, the finest"),
    ({"context": "none"}, "--context none: choose one of ppm, sum"),
    ({"output_stride": 4}, "--output_stride 4: choose one of 8, 16, 32"),
    ({"init": "xavier"}, "--init xavier: choose one of uniform, he"),
])
def test_a_value_out_of_range_is_an_error_with_the_flag(values: dict[str, Any],
                                                        message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkOptions(**values)


def test_levels_that_are_no_numbers_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--fam_levels", "all")
    assert "'all' is not a list of levels: give them as 0,1 or none" in capsys.readouterr().err


def test_options_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        NetworkOptions().arch = "sfnet_stdc1"  # type: ignore[misc]


@pytest.mark.parametrize(("message", "expected"), [
    ("pass init_aux=True.", "pass --init_aux."),
    ("pass deep_supervision=False", "pass --no_fpn_dsn_loss"),
    ('pretrained="none" or pretrained=PATH', "--pretrained none or --pretrained PATH"),
    ("arch=sfnet_timm:convnext_tiny.in1k.", "--arch sfnet_timm:convnext_tiny.in1k."),
    ("fam_levels=(0, 2) or fam_levels=()", "--fam_levels 0,2 or --fam_levels none"),
    ("the context is new, --arch=x and y=1 are no arguments",
     "the context is new, --arch=x and y=1 are no arguments"),
])
def test_arguments_in_errors_become_flags(message: str, expected: str) -> None:
    assert with_flags(message) == expected


def test_an_error_inside_the_context_keeps_its_type() -> None:
    with pytest.raises(FileNotFoundError, match=r"^give --arch NAME$"), \
            flags_in_errors():
        raise FileNotFoundError("give arch=NAME")
    with pytest.raises(KeyError, match="arch=NAME"), flags_in_errors():
        raise KeyError("arch=NAME")


def test_former_names_warn_and_are_the_new_ones() -> None:
    for former, name in (("deployed", "fuse_for_inference"), ("canonical", "resolve_name"),
                         ("initialise", "initialize")):
        message = f"network.{former} is deprecated: use network.{name}"
        with pytest.warns(DeprecationWarning, match=message):
            assert getattr(network, former) is getattr(network, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = network.nothing


def test_the_module_of_weights_is_imported_under_its_short_name() -> None:
    import network.weights
    from network.weights import load
    assert load is network.checkpoints.weights.load
