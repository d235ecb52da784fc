"""The command line of every training script, and the steps they share."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, Mapping, Sequence

import mxnet as mx
from mxnet.gluon import HybridBlock

from common import cli
from common.files import make_folder
from engine.checkpoint import LAST, read_progress
from engine.devices import half_precision, idle_cores_advice, use_half_precision
from engine.fit import FitOptions
from engine.memory import training_megabytes
from engine.schedule import Schedule
from training.recipe_options import add_recipe_arguments

AT_LEAST_1 = ("epochs", "batch_size", "rendered_count", "validate_every")
AT_LEAST_0 = ("samples", "workers", "patience")
MAY_CHANGE_ON_RESUME = ("gpus", "workers", "out", "resume", "patience", "validate_every", "amp")


def make_parser(
    description: str, models: Sequence[str], datasets: Sequence[str], recipes: Mapping[str, Mapping[str, Any]]
) -> argparse.ArgumentParser:
    """The parser of a training script: what to train, on what, by which recipe, and where it goes."""
    parser = cli.make_parser(description)
    parser.add_argument("--model", choices=models, default=models[0])
    parser.add_argument("--dataset", choices=datasets, help="300w if --data is given, else rendered faces")
    parser.add_argument("--data", metavar="DIR", help="folder of the data set; rendered faces need none")
    parser.add_argument("--out", metavar="RUN", help="folder for weights, log, checkpoint and curves")
    parser.add_argument("--resume", metavar="RUN", help="go on with this run, by its own settings")
    more = "train on this, too: a data set and its folder, such as 300w=DIR; may be repeated"
    parser.add_argument("--more", action="append", default=[], metavar="NAME=DIR", help=more)
    parser.add_argument("--init", metavar="FILE", help="start from these weights instead of random ones")
    parser.add_argument("--allow-missing", action="store_true", help="train on what is there of the data set")
    parser.add_argument("--rendered-count", type=int, default=2000, help="rendered training faces")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that prepare faces")
    parser.add_argument("--cache", action="store_true", help="keep all photos in memory")
    parser.add_argument("--patience", type=int, default=0, help="stop after so many epochs without progress; 0 never")
    parser.add_argument("--clip", type=float, default=0.0, help="largest norm of the gradient per face; 0 for none")
    parser.add_argument("--validate-every", type=int, default=1, help="epochs between two validations")
    parser.add_argument(
        "--amp",
        action="store_true",
        help="half precision where the processor has it: float16 on GPUs, bfloat16 on CPUs",
    )
    cli.add_device_arguments(parser)
    add_recipe_arguments(parser, recipes)
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; with --resume the settings are those the run was started with.

    Raises:
        ValueError: neither --out nor --resume is given, or a number is too small.
        FileNotFoundError: there is no run to resume.
    """
    arguments = parser.parse_args(argv)
    if arguments.resume:
        stored = read_progress(Path(arguments.resume)).arguments
        kept = {name: value for name, value in stored.items() if name not in MAY_CHANGE_ON_RESUME}
        arguments = argparse.Namespace(**{**vars(arguments), **kept, "out": arguments.resume})
    for name, least in [*((name, 1) for name in AT_LEAST_1), *((name, 0) for name in AT_LEAST_0)]:
        if getattr(arguments, name, least) < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}")
    if not arguments.out:
        raise ValueError("--out RUN is missing: name a folder for the run")
    if arguments.dataset is None:
        arguments.dataset = "300w" if arguments.data else "rendered"
    if arguments.dataset == "rendered":
        print("training on rendered faces; pass --dataset and --data for photos")
    return arguments


def further_data(arguments: argparse.Namespace, datasets: Sequence[str]) -> list[tuple[str, str | None]]:
    """The data sets of --more and their folders; rendered faces need none.

    Raises:
        ValueError: one is not NAME=DIR of a known data set.
    """
    pairs = [each.partition("=")[::2] for each in arguments.more]
    for each, (name, root) in zip(arguments.more, pairs):
        if name not in datasets or not (root or name == "rendered"):
            photos = [known for known in datasets if known != "rendered"]
            raise ValueError(f"--more {each}: write NAME=DIR with one of {', '.join(photos)}")
    return [(name, root or None) for name, root in pairs]


def prepare(arguments: argparse.Namespace, contexts: list[mx.Context]) -> None:
    """Says if cores stay idle, and turns half precision on for --amp; call it before building the network."""
    advice = idle_cores_advice(contexts)
    if advice:
        print(advice)
    if arguments.amp and half_precision(contexts[0]) is None:
        print("--amp: this CPU has no bfloat16, training in float32")
        arguments.amp = False
    if arguments.amp:
        use_half_precision(contexts[0])


def start_folder(arguments: argparse.Namespace) -> Path:
    """The run's folder; a run that is already there is not overwritten.

    Raises:
        ValueError: another run lies there.
    """
    folder = make_folder(arguments.out)
    if not arguments.resume and (folder / "run.json").exists():
        way_on = f"go on with --resume {folder}" if (folder / LAST).exists() else "it finished no epoch, remove it"
        raise ValueError(f"{folder} already holds a run: {way_on}, or name another --out")
    return folder


def initialise(net: HybridBlock, input_shape: Sequence[int], contexts: list[mx.Context], seed: int) -> None:
    """Xavier weights from `seed`, hybridized, every parameter's shape settled by one run."""
    mx.random.seed(seed)
    net.initialize(mx.init.Xavier(), ctx=contexts)
    net.hybridize(static_alloc=True, static_shape=True)
    for context in contexts:
        net(mx.nd.zeros(input_shape, ctx=context))


def memory_text(net: HybridBlock, crop_shape: Sequence[int], batch_size: int, contexts: list[mx.Context]) -> str:
    """What a training step on crops (C, S, S) will take of each device's memory."""
    share = -(-batch_size // len(contexts))
    gigabytes = training_megabytes(net, (share, *crop_shape)) / 1024
    return f"a step takes about {gigabytes:.1f} GB for {share} faces of {crop_shape[-1]} px on each device"


def fit_options(arguments: argparse.Namespace, recipe: Any) -> FitOptions:
    """How the run goes, from the command line and the recipe that was chosen."""
    values = {field.name: getattr(recipe, field.name) for field in fields(Schedule) if hasattr(recipe, field.name)}
    return FitOptions(
        Schedule(kind=recipe.schedule, **values),
        optimizer=getattr(recipe, "optimizer", "adam"),
        optimizer_settings={"wd": recipe.weight_decay},
        clip_norm=arguments.clip,
        average_decay=recipe.average_decay,
        patience=arguments.patience,
        amp=arguments.amp,
        validate_every=arguments.validate_every,
        seed=arguments.seed,
    )
