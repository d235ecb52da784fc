"""Command-line options of a recipe."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, Mapping, TypeVar

from common.options import Option, options_of
from common.recipe import BaseRecipe

Recipe = TypeVar("Recipe", bound=BaseRecipe)
Variants = Mapping[str, BaseRecipe]


def recipe_options(recipes: Mapping[str, Variants]) -> list[Option]:
    """The options of the first recipe, but for what it does without."""
    first = next(iter(recipes.values()))[""]
    return [each for each in options_of(first) if each.default is not None]


def add_recipe_arguments(parser: argparse._ActionsContainer, recipes: Mapping[str, Variants]) -> None:
    """Adds --recipe and an option for each value of the recipes, with every recipe's value in --help.

    Args:
        parser: gets the options.
        recipes: by name, then by what is trained; "" stands for everything else.
    """
    names = list(recipes)
    parser.add_argument("--recipe", choices=names, default=names[0], help="preset for the options below")
    for each in recipe_options(recipes):
        values = ", ".join(f"{name} {_values(variants, each.name)}" for name, variants in recipes.items())
        parser.add_argument(
            each.flag,
            dest=each.name,
            type=each.parse,
            default=argparse.SUPPRESS,
            metavar=each.metavar,
            help=f"{each.metadata['help']} ({values})",
        )


def chosen_recipe(namespace: argparse.Namespace, recipes: Mapping[str, Recipe]) -> Recipe:
    """The recipe that --recipe names, with the values that the command line changes."""
    recipe = recipes[namespace.recipe]
    given = {each.name: getattr(namespace, each.name) for each in options_of(recipe) if hasattr(namespace, each.name)}
    return replace(recipe, **{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


def _values(variants: Variants, name: str) -> str:
    """A recipe's value, and the variants whose value differs."""

    def text(recipe: Any) -> str:
        value = getattr(recipe, name)
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        return ("off", "on")[value] if isinstance(value, bool) else str(value)

    usual = text(variants[""])
    others = [f"{kind} {text(each)}" for kind, each in variants.items() if text(each) != usual]
    return f"{usual} [{'; '.join(others)}]" if others else usual
