"""Work divided among several processes: parts of a list, as even as can be, one behind the other."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

SHARD_HELP = "work on part I of N alone, such as 2/4, so that N processes or machines share the work"


def part_start(length: int, parts: int, number: int) -> int:
    """Where part `number`, from 0, of a list begins; the first parts have one more where it does not divide evenly."""
    share, longer = divmod(length, parts)
    return number * share + min(number, longer)


@dataclass(frozen=True)
class Shard:
    """One part of the work.

    Attributes:
        number: of this part, from 1.
        count: of parts.
    """

    number: int
    count: int

    def of(self, length: int, batch_size: int = 1) -> range:
        """The places in a list of this length that belong to the part, in whole batches.

        Batches of other faces would change results by rounding.
        """
        batches = -(-length // batch_size)
        first, last = (part_start(batches, self.count, number) for number in (self.number - 1, self.number))
        return range(min(first * batch_size, length), min(last * batch_size, length))

    @property
    def name(self) -> str:
        """For names of files, which sort as the parts do."""
        return f"{self.number:0{len(str(self.count))}d}_of_{self.count}"


WHOLE = Shard(1, 1)


def shard(text: str) -> Shard:
    """Reads I/N on a command line."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a part such as 2/4, from 1/4 to 4/4")
    return Shard(int(found[1]), int(found[2]))


def add_shard_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --shard."""
    parser.add_argument("--shard", metavar="I/N", type=shard, default=WHOLE, help=SHARD_HELP)
