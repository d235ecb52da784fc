"""Command-line options that follow from a paper's recipe."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import Any, Mapping

FLAGS = {
    "learning_rate": "lr",
    "weight_decay": "wd",
    "decay_factor": "lr-decay",
    "decay_epochs": "lr-decay-epoch",
}
HELP = {
    "epochs": "passes over the training faces",
    "batch_size": "faces in a batch, over all devices",
    "learning_rate": "at the start",
    "schedule": "of the learning rate: step, cosine or constant",
    "decay_factor": "what the step schedule multiplies the rate by",
    "decay_epochs": "epochs between two such steps",
    "warmup_epochs": "epochs over which the rate rises from 0",
    "weight_decay": "of the optimizer",
    "loss": "what is minimised; another name lists them all",
    "rotation_degrees": "augmentation: largest turn to either side, in degrees",
    "scale_fraction": "augmentation: largest change of the face's size, as a fraction",
    "shift_fraction": "augmentation: largest shift, as a fraction of the crop's side",
    "flip_probability": "augmentation: share of mirrored faces",
    "photometric": "augmentation: colour, blur, noise and occluding boxes, on or off",
    "average_decay": "of the moving average of the weights; 0 for none",
}


def add_recipe_arguments(parser: argparse.ArgumentParser, recipes: Mapping[str, Any]) -> None:
    """Adds --recipe and an option for each value of the recipes, with every recipe's value in --help."""
    names = list(recipes)
    parser.add_argument("--recipe", choices=names, default=names[0], help="whose values below are taken if not given")
    for field in fields(next(iter(recipes.values()))):
        values = ", ".join(f"{name} {getattr(recipe, field.name)}" for name, recipe in recipes.items())
        parser.add_argument(
            "--" + FLAGS.get(field.name, field.name.replace("_", "-")),
            dest=field.name,
            type=_parser_of(getattr(next(iter(recipes.values())), field.name)),
            default=argparse.SUPPRESS,
            metavar=field.name.rpartition("_")[2].upper(),
            help=f"{HELP[field.name]} ({values})",
        )


def chosen_recipe(arguments: argparse.Namespace, recipes: Mapping[str, Any]) -> Any:
    """The recipe of --recipe with what the command line changes in it."""
    recipe = recipes[arguments.recipe]
    return replace(recipe, **{f.name: getattr(arguments, f.name) for f in fields(recipe) if hasattr(arguments, f.name)})


def _parser_of(value: Any) -> Any:
    return _switch if isinstance(value, bool) else type(value)


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither on nor off")
    return text == "on"
