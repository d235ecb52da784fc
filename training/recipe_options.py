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
    "decay_milestones": "lr-decay-epoch",
}
HELP = {
    "epochs": "passes over the training faces",
    "batch_size": "faces in a batch, over all devices",
    "learning_rate": "at the start",
    "schedule": "of the learning rate: step, milestones, cosine or constant; lgcn also authors",
    "decay_factor": "what the step schedule multiplies the rate by",
    "decay_epochs": "epochs between two such steps",
    "decay_milestones": "epochs after which that happens, such as 20,35",
    "warmup_epochs": "epochs over which the rate rises from 0",
    "weight_decay": "of the optimizer",
    "loss": "what is minimised; another name lists them all",
    "samples": "that are made of the faces once, plain ones and changed copies; 0 for new changes in every epoch",
    "gaussian_patience": "epochs without a lower loss after which Align Loss no longer smooths",
    "momentum": "of sgd",
    "gradient_clip": "largest size of each number in the gradient of the batch's mean; 0 for any",
    "variants": "how often each face comes in an epoch, changed differently every time",
    "optimizer": "MXNet's name of it, such as adam, sgd or rmsprop",
    "score_init": "starting weights of the layers that answer the maps: xavier or zeros",
    "dropout": "share of the features that is left out in training",
    "rotation_degrees": "augmentation: largest turn to either side, in degrees",
    "scale_fraction": "augmentation: largest change of the face's size, as a fraction",
    "smallest_scale": "augmentation: the face's smallest size, as a share of its own",
    "largest_scale": "augmentation: its largest size, as a share of its own",
    "shift_fraction": "augmentation: largest shift, as a fraction of the crop's side",
    "shear_fraction": "augmentation: largest shear, pixels to the side for each pixel down",
    "flip_probability": "augmentation: share of mirrored faces",
    "brightness_fraction": "augmentation: largest change of brightness, of the range of grey levels",
    "contrast_fraction": "augmentation: largest change of contrast, as a fraction",
    "colour_jitter": "augmentation: brightness, contrast and saturation, on or off",
    "photometric": "augmentation: colour, blur, noise and occluding boxes, on or off",
    "balance_poses": "repeat faces of rare poses until all are as frequent, on or off",
    "average_decay": "of the moving average of the weights; 0 for none",
}


def add_recipe_arguments(parser: argparse.ArgumentParser, recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds --recipe and an option for each value of the recipes, with every recipe's value in --help.

    Args:
        parser: gets the options.
        recipes: by name, then by what is trained; "" stands for everything else.
    """
    names = list(recipes)
    parser.add_argument("--recipe", choices=names, default=names[0], help="whose values below are taken if not given")
    first = recipes[names[0]][""]
    for field in fields(first):
        values = ", ".join(f"{name} {_values(variants, field.name)}" for name, variants in recipes.items())
        parser.add_argument(
            "--" + FLAGS.get(field.name, field.name.replace("_", "-")),
            dest=field.name,
            type=_parser_of(getattr(first, field.name)),
            default=argparse.SUPPRESS,
            metavar=field.name.rpartition("_")[2].upper(),
            help=f"{HELP[field.name]} ({values})",
        )


def chosen_recipe(arguments: argparse.Namespace, recipes: Mapping[str, Any]) -> Any:
    """The recipe of --recipe, by name, with what the command line changes in it."""
    recipe = recipes[arguments.recipe]
    return replace(recipe, **{f.name: getattr(arguments, f.name) for f in fields(recipe) if hasattr(arguments, f.name)})


def _values(variants: Mapping[str, Any], name: str) -> str:
    """A recipe's value, and where it differs for something that is trained."""
    usual = getattr(variants[""], name)
    others = [f"{kind} {getattr(each, name)}" for kind, each in variants.items() if getattr(each, name) != usual]
    return f"{usual} [{'; '.join(others)}]" if others else str(usual)


def _parser_of(value: Any) -> Any:
    if isinstance(value, tuple):
        return _numbers
    return _switch if isinstance(value, bool) else type(value)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no list of numbers such as 20,35") from None


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither on nor off")
    return text == "on"
