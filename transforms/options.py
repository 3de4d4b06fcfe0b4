"""The flags of the training transform."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, fields

from transforms.base import Compose, Transform
from transforms.color import BilateralBlur, ColorJitter, GaussianBlur
from transforms.geometry import RandomFlip, RandomScaleCrop
from transforms.mixing import CopyPaste, CutMix, Mix, Mosaic
from transforms.randaugment import RandAugment, count_and_magnitude
from utils.cli import add_switch, crop, fraction, whole_numbers

AUGMENT_ON = ("loader", "device")


@dataclass(frozen=True)
class TransformOptions:
    """The flags of group "Transforms", under the same names.

    Args:
        crop_size: (height, width) in pixels.
        scale_min, scale_max: range of the random scale.
        rotate: largest angle in degrees, in either direction.
        flip: mirror half of the images left to right.
        cutmix, mosaic, copy_paste: probabilities with which other images are mixed in.
        copy_paste_classes: train ids that are pasted; the rare classes of the dataset when empty.
        randaugment: number and magnitude of its operations; None is off.
        color_aug: strength of the color jitter; 0 turns it off. For hue, at most 0.5 is used.
        brightness, contrast, saturation, hue: strengths that replace `color_aug`; None keeps it.
        gblur: blur some images by a Gaussian.
        bblur: blur some images by a bilateral filter instead.
        gblur_prob: probability of a blur, of either kind.
        augment_on: one of `AUGMENT_ON`, where RandAugment, color and blur are computed.

    Raises:
        ValueError: a value is out of range, or two flags exclude each other.
    """

    crop_size: tuple[int, int]
    scale_min: float = 0.5
    scale_max: float = 2.0
    rotate: float = 0.0
    flip: bool = True
    cutmix: float = 0.0
    mosaic: float = 0.0
    copy_paste: float = 0.0
    copy_paste_classes: tuple[int, ...] = ()
    randaugment: tuple[int, int] | None = None
    color_aug: float = 0.25
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    gblur: bool = True
    bblur: bool = False
    gblur_prob: float = 0.5
    augment_on: str = "loader"

    @classmethod
    def from_args(cls, args: Namespace) -> TransformOptions:
        """Reads the flags. The caller sets `args.crop_size` if `--crop_size` is not given."""
        values = {field.name: getattr(args, field.name) for field in fields(cls)}
        # a JSON file of flags has lists for tuples
        height, width = args.crop_size
        values["crop_size"] = (height, width)
        values["copy_paste_classes"] = tuple(args.copy_paste_classes)
        if args.randaugment is not None:
            count, magnitude = args.randaugment
            values["randaugment"] = (count, magnitude)
        return cls(**values)

    def __post_init__(self) -> None:
        if self.augment_on not in AUGMENT_ON:
            raise ValueError(f"--augment_on {self.augment_on} is unknown: choose "
                             f"{' or '.join(AUGMENT_ON)}")
        # each transform checks the ranges of its own arguments
        self.mixes()
        self.operations()
        self.jitter()
        if isinstance(self.blur(), BilateralBlur) and self.augment_on == "device":
            raise ValueError("--bblur blurs in the loader only: use --gblur, or leave out "
                             "--augment_on device")

    def geometry(self) -> list[Transform]:
        """Returns the transforms that move pixels, in order."""
        crop = RandomScaleCrop(self.crop_size, scale_min=self.scale_min, scale_max=self.scale_max,
                               rotate=self.rotate)
        return [crop, RandomFlip()] if self.flip else [crop]

    def mixes(self) -> list[Mix]:
        """Returns the transforms that mix other images into a crop, in order."""
        geometry = Compose(self.geometry())
        # built even if they are off, because the constructors check the probabilities
        mixes = [Mosaic(self.mosaic, geometry), CutMix(self.cutmix, geometry),
                 CopyPaste(self.copy_paste, geometry)]
        return [mix for mix in mixes if mix.probability > 0]

    @property
    def pasted_classes(self) -> tuple[int, ...] | None:
        """The classes of copy-paste, as `MixingCompose` takes them."""
        return self.copy_paste_classes if self.copy_paste > 0 else None

    def operations(self) -> RandAugment | None:
        """Returns RandAugment; None if it is off."""
        return RandAugment(*self.randaugment) if self.randaugment else None

    def jitter(self) -> ColorJitter | None:
        """Returns the color jitter; None if every strength is 0."""
        defaults = {"brightness": self.color_aug, "contrast": self.color_aug,
                    "saturation": self.color_aug, "hue": min(self.color_aug, 0.5)}
        given = {name: getattr(self, name) for name in defaults}
        strengths = {name: default if given[name] is None else given[name]
                     for name, default in defaults.items()}
        return ColorJitter(**strengths) if any(strengths.values()) else None

    def blur(self) -> GaussianBlur | None:
        """Returns the blur; None if it is off."""
        # built even if it is off, because the constructor checks the probability
        blur = BilateralBlur(self.gblur_prob) if self.bblur else GaussianBlur(self.gblur_prob)
        is_on = (self.gblur or self.bblur) and self.gblur_prob > 0
        return blur if is_on else None


def add_flags(parser: ArgumentParser) -> None:
    """Declares the flags of group "Transforms", which `TransformOptions.from_args` reads."""
    default = TransformOptions
    group = parser.add_argument_group("Transforms")
    group.add_argument("--crop_size", type=crop,
                       help="training crop in pixels, N or HEIGHTxWIDTH; by default the size that "
                            "DATASETs.md gives for the dataset")
    group.add_argument("--scale_min", type=float, default=default.scale_min,
                       help="smallest random scale")
    group.add_argument("--scale_max", type=float, default=default.scale_max,
                       help="largest random scale")
    group.add_argument("--rotate", type=float, default=default.rotate, metavar="DEGREES",
                       help="largest random rotation in degrees; 0 is off")
    add_switch(group, "--flip", default=default.flip,
               help="mirror half of the images left to right")
    group.add_argument("--cutmix", type=fraction, default=default.cutmix, metavar="P",
                       help="probability that a rectangle of another image replaces that of a crop")
    group.add_argument("--mosaic", type=fraction, default=default.mosaic, metavar="P",
                       help="probability that a crop is joined from parts of four images")
    group.add_argument("--copy_paste", type=fraction, default=default.copy_paste, metavar="P",
                       help="probability that the pixels of a rare class of another image are "
                            "pasted into a crop")
    group.add_argument("--copy_paste_classes", type=whole_numbers,
                       default=default.copy_paste_classes, metavar="ID,ID",
                       help="train ids of the pasted classes (default: the classes that at most "
                            "half of the training images hold)")
    group.add_argument("--randaugment", type=count_and_magnitude, default=default.randaugment,
                       metavar="N:M",
                       help="N random operations of magnitude M, 0 to 30, on each crop, before "
                            "color and blur; usual is 2:9 (default: none)")
    group.add_argument("--color_aug", type=float, default=default.color_aug,
                       help="strength of random brightness, contrast, saturation and hue; 0 is off")
    for name in ("brightness", "contrast", "saturation"):
        group.add_argument(f"--{name}", type=float,
                           help=f"strength of random {name} (default: that of --color_aug)")
    group.add_argument("--hue", type=float,
                       help="strength of random hue in turns, 0 to 0.5 (default: that of "
                            "--color_aug)")
    add_switch(group, "--gblur", default=default.gblur, help="blur some images by a Gaussian")
    add_switch(group, "--bblur", default=default.bblur,
               help="blur by an edge-preserving bilateral filter instead of a Gaussian")
    group.add_argument("--gblur_prob", type=float, default=default.gblur_prob,
                       help="probability that an image is blurred")
    group.add_argument("--augment_on", choices=AUGMENT_ON, default=default.augment_on,
                       help="where RandAugment, color and Gaussian blur are computed: in the "
                            "loader's processes, or on the training device")
