from __future__ import annotations

import pytest

from utils.cli import FlagParser
from utils.evaluation.corruptions.options import CorruptionOptions, add_flags
from utils.evaluation.corruptions.table import KINDS, Corruption


def options(*words: str) -> CorruptionOptions:
    parser = FlagParser()
    add_flags(parser)
    return CorruptionOptions.from_args(parser.parse_args(words))


def test_a_plan_begins_with_the_images_as_they_are() -> None:
    assert options().plan() == [None]
    assert options("--corruption", "rain", "fog", "--severity", "5", "1").plan() == [
        None, Corruption("fog", 1), Corruption("fog", 5), Corruption("rain", 1),
        Corruption("rain", 5)]
    plan = options("--corruptions", "all").plan()
    assert [corruption.kind for corruption in plan[1:]] == [*KINDS]
    assert {corruption.severity for corruption in plan[1:]} == {3}


@pytest.mark.parametrize(("words", "message"), [
    (("--corruption", "frog"), "frog is unknown, did you mean 'fog'.*It takes: fog, rain, snow"),
    (("--corruption", "all", "frog"), "frog is unknown"),
    (("--corruption", "fog", "--severity", "6"), "--severity 6 is out of range"),
    (("--severity", "2"), "no effect without --corruption"),
])
def test_what_does_not_exist_is_refused_with_the_list(words: tuple[str, ...],
                                                      message: str) -> None:
    with pytest.raises(ValueError, match=message):
        options(*words)

