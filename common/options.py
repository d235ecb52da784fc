"""Command-line options declared as fields of a frozen dataclass, each with its help text beside it.

A subclass may override a default with a plain `epochs: int = 350`: the help is looked up along the base classes.
"""

from __future__ import annotations

import argparse
from dataclasses import field, fields
from typing import Any, Mapping, NamedTuple, Sequence, TypeVar

from common import cli

T = TypeVar("T")
PATHS = ("DIR", "FILE", "RUN")  # placeholders of options that are paths


def option(
    default: Any,
    help: str,
    flag: str | None = None,
    metavar: str | None = None,
    kind: type = str,
    choices: Sequence[Any] | None = None,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> Any:
    """A dataclass field that is a command-line option.

    Args:
        default: its value if not given; its type says how the option is parsed: bool as on or off, tuple as integers
            with commas between them.
        help: for --help.
        flag: name of the option, without dashes; the field's if None.
        metavar: placeholder in --help; the last word of the field's name if None.
        kind: how the option is parsed if the default is None.
        choices: allowed values.
        least: smallest allowed value of a number; 0 if None.
        most: largest allowed value of a number.
        above: that a number must exceed.
    """
    given: dict[str, Any] = {"help": help, "flag": flag, "metavar": metavar, "kind": kind, "choices": choices}
    given.update(least=least, most=most, above=above)
    return field(default=default, metadata=given)


def switch(help: str) -> Any:
    """A dataclass field, False, that an option without a value turns on."""
    return field(default=False, metadata={"help": help, "is_switch": True})


def repeated(help: str, metavar: str) -> Any:
    """A dataclass field, an empty tuple, that gets the value of each occurrence of an option."""
    return field(default=(), metadata={"help": help, "metavar": metavar, "is_repeated": True})


class Option(NamedTuple):
    """One option, as its field declares it."""

    name: str
    default: Any
    metadata: Mapping[str, Any]

    @property
    def flag(self) -> str:
        """The option as it is typed, such as --batch-size."""
        return "--" + (self.metadata.get("flag") or self.name.replace("_", "-"))

    @property
    def metavar(self) -> str:
        """Placeholder of its value."""
        if isinstance(self.default, bool):
            return "on|off"
        return self.metadata.get("metavar") or self.name.rpartition("_")[2].upper()

    @property
    def parse(self) -> Any:
        """Turns text into a value."""
        if isinstance(self.default, bool):
            return _on_or_off
        if isinstance(self.default, tuple):
            return _integers
        kind = self.metadata.get("kind", str) if self.default is None else type(self.default)
        if kind is str and self.metavar in PATHS:
            return cli.path
        return {int: cli.integer, float: cli.number, str: cli.text}.get(kind, kind)

    def check(self, value: Any) -> None:
        """Raises ValueError for a value that is too small or too large, or of another type, as in a damaged run."""
        if value is None or isinstance(self.default, (bool, str, tuple)):
            return
        wanted = float if isinstance(self.default, float) else int
        if isinstance(value, bool) or not isinstance(value, (int, wanted)):
            raise ValueError(f"{self.flag} must be a number, not {str(value)[:40]}")
        least, most = self.metadata.get("least") or 0, self.metadata.get("most")
        above = self.metadata.get("above")
        if above is not None and not value > above:
            raise ValueError(f"{self.flag} must be more than {above:g}, not {value:g}")
        if not value >= least:
            raise ValueError(f"{self.flag} must be at least {least}")
        most = cli.LARGEST_COUNT if most is None else most
        if not value <= most:
            raise ValueError(f"{self.flag} must be at most {most:g}")


def options_of(settings: Any) -> list[Option]:
    """The options of a dataclass with its defaults, or of an instance with its values."""
    cls = settings if isinstance(settings, type) else type(settings)
    values = ((each.name, each.default if cls is settings else getattr(settings, each.name)) for each in fields(cls))
    return [Option(name, value, _metadata(cls, name)) for name, value in values]


def _metadata(cls: type, name: str) -> Mapping[str, Any]:
    """What the class, or the nearest of its bases that says anything, says of a field."""
    declared = (vars(each).get("__dataclass_fields__", {}).get(name) for each in cls.__mro__)
    return next((each.metadata for each in declared if each is not None and each.metadata), {})


def add_options(
    parser: argparse._ActionsContainer, settings: type, choices: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Adds an option for each field of a dataclass; fields without help have none.

    Args:
        parser: gets the options.
        settings: the dataclass.
        choices: allowed values by field, where they are not known at its declaration.
    """
    for each in options_of(settings):
        common: dict[str, Any] = {"dest": each.name, "help": each.metadata.get("help")}
        if each.metadata.get("is_switch"):
            parser.add_argument(each.flag, action="store_true", **common)
        elif each.metadata.get("is_repeated"):
            parser.add_argument(each.flag, action="append", default=[], metavar=each.metavar, **common)
        elif each.metadata:
            allowed = (choices or {}).get(each.name) or each.metadata.get("choices")
            # argparse parses a default that is text, and --help shows it as it would be typed.
            default = ("off", "on")[each.default] if isinstance(each.default, bool) else each.default
            metavar = None if allowed else each.metavar
            parser.add_argument(each.flag, type=each.parse, default=default, choices=allowed, metavar=metavar, **common)


def from_namespace(settings: type[T], namespace: argparse.Namespace) -> T:
    """The dataclass with the values of a parsed command line."""
    values = {each.name: getattr(namespace, each.name) for each in fields(settings)}  # type: ignore[arg-type]
    return settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(cli.count(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"'{text[:40]}' is not a list of whole numbers above 0, such as 20,35"
        ) from None


def _on_or_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is neither on nor off")
    return text == "on"
