"""The command line of every training script, and the steps they share."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence, TypeVar

import mxnet as mx
from mxnet.gluon import HybridBlock

from common import cli
from common.files import exclusive
from common.options import add_options, from_namespace, options_of
from common.recipe import BaseRecipe
from engine import distributed
from engine.checkpoint import LAST, read_progress
from engine.devices import half_precision, half_precision_advice, idle_cores_advice, use_half_precision
from engine.distributed import Team
from engine.fit import FitOptions
from engine.memory import training_megabytes
from engine.schedule import Schedule
from training.recipe_options import Variants, add_recipe_arguments, chosen_recipe
from training.settings import TrainingSettings

# What does not change what a run is: where and how it goes on, how long, and on which faces.
MAY_CHANGE_ON_RESUME = (
    *("gpus", "kv_store", "workers", "cache", "patience", "validate_every", "validation_batch_size", "amp"),
    *("epochs", "data", "more", "allow_missing", "official_split", "exclude"),
)
Settings = TypeVar("Settings", bound=TrainingSettings)


class Command(NamedTuple):
    """What a command line asks for.

    Attributes:
        settings: all but the recipe, of the script's own type.
        recipe: the chosen one with the changes that were asked for.
        arguments: the same as plain JSON types, for the run record and the checkpoint.
    """

    settings: Any
    recipe: Any
    arguments: dict[str, Any]


@dataclass(frozen=True)
class CommandLine:
    """The command line of one training script.

    Attributes:
        description: for --help.
        models: names of the networks, the default first.
        datasets: names of the data sets.
        recipes: by name, then by what is trained; "" stands for everything else.
        settings_type: the script's own options.
    """

    description: str
    models: Sequence[str]
    datasets: Sequence[str]
    recipes: Mapping[str, Variants]
    settings_type: type[TrainingSettings]

    def make_parser(self) -> argparse.ArgumentParser:
        """The parser: what to train, on what, by which recipe, and where the run goes."""
        parser = cli.make_parser(self.description)
        choices = {"model": self.models, "dataset": self.datasets}
        add_options(parser.add_argument_group("what to train, and how to run it"), self.settings_type, choices)
        parser.set_defaults(model=self.models[0])
        add_recipe_arguments(parser.add_argument_group("the recipe"), self.recipes)
        return parser

    def parse(
        self,
        argv: Sequence[str] | None = None,
        recipes_for: Callable[[str, str], Mapping[str, BaseRecipe]] | None = None,
    ) -> Command:
        """Reads the command line; with --resume the settings are those the run was started with.

        Args:
            argv: the arguments, those of the process by default.
            recipes_for: (model, dataset) -> the recipe for each name; by default the one for everything.

        Raises:
            ValueError: neither --out nor --resume is given, a number is too small, or --more is not NAME=DIR.
            FileNotFoundError: there is no run to resume.
        """
        namespace = self.make_parser().parse_args(argv)
        given: dict[str, Any] = {}
        if namespace.resume:
            stored, given = self._stored(namespace), self._given(argv, namespace)
            plain = self.make_parser().parse_args(["--resume", namespace.resume])
            namespace = argparse.Namespace(**{**vars(plain), **stored, **_kept(given), "out": namespace.resume})
        if not namespace.out and not getattr(namespace, "dry_run", False):
            raise ValueError("--out RUN is missing: name a folder for the run")
        if namespace.dataset is None:
            namespace.dataset = "300w" if namespace.data else "rendered"
        recipes = {name: variants[""] for name, variants in self.recipes.items()}
        if recipes_for:
            recipes = dict(recipes_for(namespace.model, namespace.dataset))
        settings, recipe = from_namespace(self.settings_type, namespace), chosen_recipe(namespace, recipes)
        for each in (*options_of(settings), *options_of(recipe)):
            each.check(each.default)
        if namespace.resume:
            flags = {each.name: each.flag for each in (*options_of(settings), *options_of(recipe))}
            _refuse_other_settings(given, {**vars(namespace), **vars(recipe)}, flags, namespace.resume)
        further_data(settings, self.datasets)
        return Command(settings, recipe, vars(namespace))

    def _stored(self, namespace: argparse.Namespace) -> dict[str, Any]:
        """The settings that the run to resume was started with."""
        stored = dict(read_progress(Path(namespace.resume)).arguments)
        for each in options_of(self.settings_type):
            # Older checkpoints hold these options as they were typed.
            if isinstance(each.default, bool) and isinstance(stored.get(each.name), str):
                stored[each.name] = stored[each.name] == "on"
        # They may have been computed on another machine, and by another number of processors.
        return {name: value for name, value in stored.items() if name not in ("gpus", "kv_store", "workers", "resume")}

    def _given(self, argv: Sequence[str] | None, namespace: argparse.Namespace) -> dict[str, Any]:
        """The options that stand on the command line, without defaults."""
        blank = argparse.Namespace(**dict.fromkeys(vars(namespace)))
        given = vars(self.make_parser().parse_args(argv, blank))
        return {name: value for name, value in given.items() if name != "resume" and value is not None}


def _kept(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of the options given with --resume takes the place of the stored settings."""
    return {name: value for name, value in given.items() if name in MAY_CHANGE_ON_RESUME}


def _refuse_other_settings(
    given: Mapping[str, Any], used: Mapping[str, Any], flags: Mapping[str, str], run: str
) -> None:
    """Refuses options given with --resume that would make another run of it.

    Args:
        given: options by name.
        used: the run's own values of all options.
        flags: how the options are typed.
        run: its folder.

    Raises:
        ValueError: one differs; the message has both values.
    """
    for name, value in given.items():
        own = run if name == "out" else used.get(name)
        plain = tuple(value) if isinstance(value, list) else value
        same = Path(plain) == Path(own) if name == "out" else plain == own
        if name not in MAY_CHANGE_ON_RESUME and not same:
            flag, weights = flags.get(name, f"--{name}"), Path(run) / "best.params"
            raise ValueError(
                f"--resume {run}: this run has {flag} {own}, not {plain}; leave the option out, or start another run "
                f"from its weights with --init {weights} and another --out"
            )


def further_data(settings: TrainingSettings, datasets: Sequence[str]) -> list[tuple[str, str | None]]:
    """The data sets of --more and their folders; rendered faces need none.

    Raises:
        ValueError: one is not NAME=DIR of a known data set.
    """
    pairs = [each.partition("=")[::2] for each in settings.more]
    for each, (name, root) in zip(settings.more, pairs):
        if name not in datasets or not (root or name == "rendered"):
            photos = [known for known in datasets if known != "rendered"]
            raise ValueError(f"--more {each}: write NAME=DIR with one of {', '.join(photos)}")
    return [(name, root or None) for name, root in pairs]


def prepare(settings: Settings, devices: list[mx.Context]) -> Settings:
    """Prints what to know beforehand and turns on half precision for --amp; call it before building the network.

    Returns:
        The settings, without amp where the processor does not support it.
    """
    if settings.dataset == "rendered":
        print("training on rendered faces; pass --dataset and --data for photos")
    advice = idle_cores_advice(devices)
    if advice:
        print(advice)
    if settings.amp and half_precision(devices[0]) is None:
        print("--amp: this CPU has no bfloat16, training in float32")
        return replace(settings, amp=False)
    if settings.amp:
        advice = half_precision_advice(devices[0])
        if advice:
            print(advice)
        use_half_precision(devices[0])
    return settings


@contextmanager
def join_workers(settings: TrainingSettings, recipe: BaseRecipe) -> Iterator[Team]:
    """The workers of --kv-store, which train by one recipe.

    Raises:
        ValueError: they were started with different options.
    """
    with distributed.join(settings.kv_store) as team:
        names = ("model", "dataset", "seed", "clip", "patience", "validate_every", "amp")
        given = {f"--{name.replace('_', '-')}": getattr(settings, name) for name in names}
        team.agree({"their recipes": recipe, **given})
        yield team


def device_names(devices: list[mx.Context], team: Team) -> list[str]:
    """What a run is computed on, for its record."""
    if team.size == 1:
        return [str(device) for device in devices]
    return [f"{device} of worker {rank}" for rank in range(team.size) for device in devices]


@contextmanager
def start_folder(settings: TrainingSettings, team: Team) -> Iterator[Path]:
    """Creates the run's folder and keeps other processes out of it; never overwrites another run.

    Only the first worker of a team writes.

    Raises:
        OSError: the folder cannot be written to.
        ValueError: the folder holds another run, or another process trains in it.
    """
    if not team.first:
        yield Path(settings.out or "")
        return
    folder = cli.output_folder(settings.out or "")
    with exclusive(folder, "wait for it to end, or name another --out"):
        if not settings.resume and (folder / "run.json").exists():
            remedy = (
                f"continue it with --resume {folder}" if (folder / LAST).exists() else "it finished no epoch, remove it"
            )
            raise ValueError(f"{folder} already holds a run: {remedy}, or name another --out")
        yield folder


def initialise(
    net: HybridBlock, input_shape: Sequence[int], devices: list[mx.Context], seed: int, static_shape: bool = True
) -> None:
    """Draws Xavier weights from `seed`, hybridizes the network, and settles every parameter's shape by one run.

    Args:
        net: the network.
        input_shape: (1, C, S, S), of one crop.
        devices: that it will run on.
        seed: of the weights.
        static_shape: let MXNet keep every layer's output between steps; for full-size heatmaps that is too much memory.
    """
    mx.random.seed(seed)
    net.initialize(mx.init.Xavier(), ctx=devices)
    net.hybridize(static_alloc=True, static_shape=static_shape)
    for device in devices:
        net(mx.nd.zeros(input_shape, ctx=device))


def planned_gigabytes(net: HybridBlock, crop_shape: Sequence[int], batch_size: int, devices: list[mx.Context]) -> float:
    """Gigabytes that MXNet plans on each device for a training step on crops (C, S, S)."""
    return training_megabytes(net, (-(-batch_size // len(devices)), *crop_shape)) / 1024


def memory_text(net: HybridBlock, crop_shape: Sequence[int], batch_size: int, devices: list[mx.Context]) -> str:
    """The memory that MXNet plans on each device for a training step on crops (C, S, S), and what is not in it."""
    share = -(-batch_size // len(devices))
    gigabytes = planned_gigabytes(net, crop_shape, batch_size, devices)
    beyond = (
        "the loss and cuDNN come on top" if devices[0].device_type == "gpu" else "a CPU takes more, often twice that"
    )
    faces = f"{share} faces of {crop_shape[-1]} px on each device"
    return f"MXNet plans {gigabytes:.1f} GB for a step with {faces}; {beyond}"


def fit_options(settings: TrainingSettings, recipe: BaseRecipe) -> FitOptions:
    """The training loop's options, from the command line and the recipe.

    Raises:
        ValueError: an optimizer or a schedule that is not known.
    """
    optimizers = sorted(mx.optimizer.Optimizer.opt_registry)
    if recipe.optimizer.lower() not in optimizers:
        raise ValueError(f"unknown --optimizer '{recipe.optimizer}': choose one of {', '.join(optimizers)}")
    known = {each.name: getattr(recipe, each.name) for each in fields(Schedule) if hasattr(recipe, each.name)}
    optimizer_settings = {"wd": recipe.weight_decay}
    if recipe.gradient_clip:
        optimizer_settings["clip_gradient"] = recipe.gradient_clip
    if recipe.optimizer == "sgd" and recipe.momentum is not None:
        optimizer_settings["momentum"] = recipe.momentum
    return FitOptions(
        Schedule(kind=recipe.schedule, **{name: value for name, value in known.items() if value is not None}),
        optimizer=recipe.optimizer,
        optimizer_settings=optimizer_settings,
        clip_norm=settings.clip,
        average_decay=recipe.average_decay,
        patience=settings.patience,
        amp=settings.amp,
        validate_every=settings.validate_every,
        seed=settings.seed,
    )
