"""The command line of a paper's figures: a sub-command for each, which draws it into one PNG file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from operator import methodcaller
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import mxnet as mx

from common import cli
from common.files import write_bytes
from engine import devices

Option = Callable[[argparse.ArgumentParser], object]


@dataclass(frozen=True)
class FaceChoice:
    """The faces of a data set that a figure shows; `figures.inputs.FACES` holds the options of the same names.

    Attributes:
        dataset: its name; 300-W if only `data` is given, rendered faces if neither is.
        data: its folder.
        subset: part of it; its first if None.
        allow_missing: accept a part of the subset.
        count: of rendered faces.
        seed: of rendered faces and of everything random.
    """

    dataset: str | None = None
    data: str | None = None
    subset: str | None = None
    allow_missing: bool = False
    count: int = 200
    seed: int = 0


class Command(NamedTuple):
    """One figure.

    Attributes:
        make: draws it on the device that networks run on, its options as keywords, those of FACES as one `faces`; its
            docstring is the command's help.
        options: its arguments; every figure also has --out, --gpus and --seed.
    """

    make: Callable[..., bytes]
    options: tuple[Option, ...] = ()

    def draw(self, context: mx.Context, options: Mapping[str, Any]) -> bytes:
        """The PNG file of the figure for the options of a command line."""
        names = {each.name for each in fields(FaceChoice)}
        keywords = {name: value for name, value in options.items() if name not in names}
        if names <= options.keys():
            keywords["faces"] = FaceChoice(**{name: options[name] for name in names})
        return self.make(context, **keywords)


class FigureCommands:
    """The command `python -m figures.<paper>`.

    Args:
        paper: name of the module.
        description: of the command.
        figures: by the name of their sub-command.
    """

    def __init__(self, paper: str, description: str | None, figures: Mapping[str, Command]) -> None:
        self.figures = figures
        self._paper, self._description = paper, description

    def make_parser(self) -> argparse.ArgumentParser:
        """The command line: the figure's name, then its arguments."""
        parser = cli.make_parser(self._description)
        parser.prog = f"python -m figures.{self._paper}"
        commands = parser.add_subparsers(metavar="FIGURE", dest="figure", required=True)
        for name, each in self.figures.items():
            text = str(each.make.__doc__)
            command = commands.add_parser(name, help=text, description=text, formatter_class=parser.formatter_class)
            for add in each.options:
                add(command)
            command.add_argument("--out", metavar="FILE.png", type=cli.path, required=True, help="output picture")
            cli.add_device_arguments(command)
        return parser

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Draws one figure."""
        options = vars(self.make_parser().parse_args(argv))
        figure, out = self.figures[options.pop("figure")], options.pop("out")
        context = devices.contexts(options.pop("gpus"))[0]
        write_picture(out, lambda: figure.draw(context, options))
        return 0


def option(name: str, **settings: Any) -> Option:
    """An argument of figures, with the settings of `ArgumentParser.add_argument`."""
    return methodcaller("add_argument", name, **settings)


def show_option(default: int, what: str = "faces of each kind to show") -> Option:
    """--show, of figures that show some of the faces."""
    return option("--show", type=cli.count, default=default, help=what)


def check_number(name: str, number: int, count: int) -> int:
    """A number that counts from 0, which must be one of `count`; ValueError if it is not."""
    if not 0 <= number < count:
        raise ValueError(f"--{name} {number}: give a number from 0 to {count - 1}")
    return number


def write_picture(out: str, draw: Callable[[], bytes]) -> None:
    """Draws a figure into a PNG file and says so; ValueError if the name is not of a PNG file."""
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise ValueError(f"--out {out}: figures are PNG files; give a name that ends in .png")
    cli.output_file(path)
    write_bytes(path, draw())
    print(f"open {path}")
