"""Datasets by name, their options, and the reader, sampling and loading that they share."""
from datasets.absent_classes import inspect_labels
from datasets.class_uniform.plan import ClassUniformPlan, plan_training
from datasets.extra_data import check_same_sources
from datasets.layout import Layout
from datasets.listing import Sample
from datasets.loader import default_workers, eval_loader, train_loader
from datasets.options import DataOptions, EvalDataOptions, add_flags
from datasets.padding import describe_padding
from datasets.partners import add_partners
from datasets.reader import JoinedDataset, SegmentationDataset, read_image, read_label
from datasets.registry import SPECS, build, help_text, names, spec
from datasets.sampling import EpochPlan, EpochSampler, SampleDraw
from datasets.spec import ClassInfo, DatasetError, DatasetSpec, split_name
from datasets.yaml_spec import check_same_data, describes_same_data

__all__ = [
    "SPECS",
    "ClassInfo",
    "ClassUniformPlan",
    "DataOptions",
    "DatasetError",
    "DatasetSpec",
    "EpochPlan",
    "EpochSampler",
    "EvalDataOptions",
    "JoinedDataset",
    "Layout",
    "Sample",
    "SampleDraw",
    "SegmentationDataset",
    "add_flags",
    "add_partners",
    "build",
    "check_same_data",
    "check_same_sources",
    "default_workers",
    "describe_padding",
    "describes_same_data",
    "eval_loader",
    "help_text",
    "inspect_labels",
    "names",
    "plan_training",
    "read_image",
    "read_label",
    "spec",
    "split_name",
    "train_loader",
]
