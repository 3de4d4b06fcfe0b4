"""The rules that choose which images of a folder belong to a split."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.layout import Fold, Frames, GroupFold, ImageMatch, Indices, Listed, Matching, Videos

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FAST
@given(val=st.integers(1, 5), train=st.integers(1, 12), folds=st.integers(1, 4), data=st.data())
def test_a_fold_parts_the_images_and_holds_out_as_many_groups_as_val_has(
    val: int, train: int, folds: int, data: st.DataObject
) -> None:
    fold = data.draw(st.integers(0, folds - 1))
    listed = [
        ImageMatch(folder, (f"{folder}{number}", str(image)), Path("x"))
        for folder, count in (("val", val), ("train", train))
        for number in range(count)
        for image in range(2)
    ]
    held_out, kept = (Fold(fold, folds, which)(Path(), listed) for which in (True, False))
    assert sorted([*held_out, *kept]) == sorted(listed)
    assert len({image.wildcards[0] for image in held_out}) == val
    if fold == 0:
        assert {image.folder for image in held_out} == {"val"}


@FAST
@given(places=st.sets(st.integers(0, 19), min_size=1))
def test_indices_and_the_others_part_the_images(places: set[int]) -> None:
    listed = [ImageMatch("", (str(number),), Path("x")) for number in range(20)]
    chosen, others = (Indices(tuple(places), but)(Path(), listed) for but in (False, True))
    assert [int(image.wildcards[0]) for image in chosen] == sorted(places)
    assert len(chosen) + len(others) == 20


def images(*paths: str) -> list[ImageMatch]:
    return [ImageMatch("", (Path(path).stem,), Path("/root") / path) for path in paths]


def stems(chosen: object) -> list[str]:
    return [image.image.stem for image in chosen]


def test_fold_k_starts_k_nths_around_the_groups() -> None:
    groups = [
        ("val", "a"),
        ("val", "b"),
        ("train", "c"),
        ("train", "d"),
        ("train", "e"),
        ("train", "f"),
    ]
    listed = [ImageMatch(folder, (city,), Path(city)) for folder, city in groups]
    # 6 groups, 2 of them in the first folder: fold 1 of 3 starts at group 1 * 6 // 3 = 2
    assert stems(Fold(1, 3, held_out=True)(Path(), listed)) == ["c", "d"]
    assert stems(Fold(2, 3, held_out=True)(Path(), listed)) == ["e", "f"]
    assert stems(Fold(2, 3, held_out=False)(Path(), listed)) == ["a", "b", "c", "d"]


def test_indices_beyond_the_images_are_refused() -> None:
    with pytest.raises(ValueError, match="lists image number 5, but there are only 2 images"):
        Indices((1, 5))(Path(), images("a.png", "b.png"))


def test_frames_are_a_range_of_the_numbers_of_a_sequence() -> None:
    frames = Frames("0016E5", 10, 20)
    assert frames.contains("0016E5_10")
    assert frames.contains("0016E5_f00020")
    assert not frames.contains("0016E5_21")
    assert not frames.contains("0001TP_15")
    assert not frames.contains("0016E5")
    assert Frames("0016E5").contains("0016E5_999999")


def test_videos_are_frames_without_the_excluded_ones() -> None:
    videos = Videos((Frames("a"), Frames("b", first=2)), exclude=(Frames("a", 2, 2),))
    assert stems(videos(Path(), images("a_1", "a_2", "a_3", "b_1", "b_2"))) == ["a_1", "a_3", "b_2"]


def test_a_glob_matches_the_path_below_the_root_or_the_stem() -> None:
    listed = images("day/a_1.png", "day/b_1.png", "night/a_2.png")
    assert stems(Matching("night/*")(Path("/root"), listed)) == ["a_2"]
    assert stems(Matching("a_*")(Path("/root"), listed)) == ["a_1", "a_2"]


def test_a_list_names_paths_or_their_ends(tmp_path: Path) -> None:
    listed = [ImageMatch("", ("",), tmp_path / path) for path in ("x/1.png", "y/1.png", "y/2.png")]
    (tmp_path / "list.txt").write_text("./x/1\n\n2.png\n")
    assert [
        image.image.relative_to(tmp_path).as_posix()
        for image in Listed(("absent.txt", "list.txt"))(tmp_path, listed)
    ] == ["x/1.png", "y/2.png"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1\n", r"list.txt, line 1: '1' names several images, such as .*x/1.png and .*y/1.png"),
        ("x/1\n3\n", r"list.txt, line 2: '3' names none of the 3 images that are here"),
        ("\n", r"list.txt names no image: a split needs at least one"),
    ],
)
def test_a_line_must_name_exactly_one_image(tmp_path: Path, lines: str, message: str) -> None:
    listed = [ImageMatch("", ("",), tmp_path / path) for path in ("x/1.png", "y/1.png", "y/2.png")]
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(ValueError, match=message):
        Listed(("list.txt",))(tmp_path, listed)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"a.txt or .*b.txt should name its images, one per line"
    ):
        Listed(("a.txt", "b.txt"))(tmp_path, [])


def image_called(root: Path, stem: str) -> ImageMatch:
    return ImageMatch("train", (stem,), root / f"train/{stem}.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_is_read_as_utf_8_and_as_windows_programs_write_it(tmp_path: Path,
                                                                  encoding: str) -> None:
    (tmp_path / "list.txt").write_text("é\r\nb\r\n", encoding=encoding)
    listed = [image_called(tmp_path, stem) for stem in "aéb"]
    assert Listed(("list.txt",))(tmp_path, listed) == listed[1:]


@pytest.mark.parametrize(("encoding", "message"), [
    ("latin-1", r"list\.txt, line 2: the list is not in UTF-8 \(byte 0xe9\)"),
    ("utf-16-le", r"list\.txt.* not in UTF-8"),
])
def test_a_list_in_another_encoding_is_named(tmp_path: Path, encoding: str, message: str) -> None:
    (tmp_path / "list.txt").write_text("a\né\n", encoding=encoding)
    with pytest.raises(ValueError, match=message):
        Listed(("list.txt",))(tmp_path, [image_called(tmp_path, "a")])


def test_every_group_is_held_out_by_one_of_the_group_folds() -> None:
    # five drives, two images each
    listed = [ImageMatch("train", (drive, image), Path(f"{drive}{image}"))
              for drive in "abcde" for image in "12"]
    held_out = [GroupFold(fold, 3, held_out=True)(Path(), listed) for fold in range(3)]
    assert [stems(images) for images in held_out] == [
        ["a1", "a2", "d1", "d2"], ["b1", "b2", "e1", "e2"], ["c1", "c2"]]
    kept = GroupFold(2, 3, held_out=False)(Path(), listed)
    assert sorted([*kept, *held_out[2]]) == sorted(listed)
