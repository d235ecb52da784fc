"""`faces.csv`: a row for each face of photos, and of each frame of videos, read from the files that hold them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Iterator, Sequence

from common.files import write_whole
from common.readers import read_json

BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


def write_table(folder: Path, name: str, stems: Sequence[str], num_landmarks: int) -> None:
    """Writes the table, whole or not at all; pixels count from 0.

    Args:
        folder: of the results.
        name: of the table in it.
        stems: of the inputs that it is of, whose results are complete.
        num_landmarks: of a face.

    Raises:
        OSError, ValueError: the table cannot be written, or results cannot be read.
    """
    points = [f"{axis}{index}" for index in range(num_landmarks) for axis in "xy"]

    def write(part: str) -> None:
        # Names of files need not be UTF-8.
        with open(part, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["image", "frame", "seconds", "face", "score", *BOX, *points])
            for stem in stems:
                table.writerows(_rows(folder, stem))

    write_whole(folder / name, write)


def _rows(folder: Path, stem: str) -> Iterator[list[Any]]:
    """The rows of one input; a photo has no frames, and a face that is not followed has no number."""
    content = read_json(folder / f"{stem}.json")
    if "video" not in content:
        yield from (_row([content["image"], "", "", k], face) for k, face in enumerate(content["faces"], 1))
        return
    with open(folder / content["lines"], encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            place = [content["video"], line["frame"], line["seconds"]]
            yield from (_row([*place, face["id"]], face) for face in line["faces"])


def _row(place: list[Any], face: dict[str, Any]) -> list[Any]:
    return [*place, face["score"], *face["box"], *(number for point in face["points"] for number in point)]
