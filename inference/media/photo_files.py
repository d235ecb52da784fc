"""The files of a photo: `<stem>.json`, `<stem>_<face>.pts`, `<stem>.png`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from datasets.images import write_image
from datasets.markups import Markup
from datasets.pts_files import write_pts
from inference.drawing import draw_faces
from inference.landmark_detector import LocatedFace
from inference.media.output_folder import OutputFolder, points_names

COORDINATES = "pixels of the upright image, x then y, centre of the first pixel at (0, 0); the .pts files count from 1"


class PhotoFiles:
    """Writes what was found in photos.

    Args:
        folder: where to.
        about: what each JSON holds besides the image and its faces, such as the model.
        markup: of the points.
    """

    def __init__(self, folder: OutputFolder, about: Mapping[str, Any], markup: Markup) -> None:
        self._folder, self._about, self._markup = folder, about, markup

    def write(self, photo: Path, image: np.ndarray, faces: Sequence[LocatedFace]) -> np.ndarray:
        """Writes the files of one photo aside and then, JSON last, puts them in the place of an earlier run's.

        Returns:
            (H, W, 3) the annotated copy.

        Raises:
            OSError: they could not be written; what an earlier run left is untouched.
        """
        drawn = draw_faces(image, faces, self._markup)
        with self._folder.aside(photo) as aside:
            names = self._write_aside(aside, photo, drawn, faces)
            self._folder.put(aside, photo.stem, names)
        return drawn

    def _write_aside(self, aside: Path, photo: Path, drawn: np.ndarray, faces: Sequence[LocatedFace]) -> list[str]:
        """The names of the files written, in the order in which they are to appear."""
        stem = photo.stem
        names = points_names(stem, len(faces))
        write_image(aside / f"{stem}.png", drawn)
        for name, face in zip(names, faces):
            write_pts(aside / name, face.points)
        content = {
            "image": str(photo),
            "width": drawn.shape[1],
            "height": drawn.shape[0],
            **self._about,
            "coordinates": COORDINATES,
            "faces": [plain_face(face) for face in faces],
        }
        (aside / f"{stem}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return [f"{stem}.png", *names, f"{stem}.json"]


def plain_face(face: LocatedFace) -> dict[str, Any]:
    """A face as JSON shows it."""
    points = np.round(face.points, 3).tolist()
    return {"box": np.round(face.box, 3).tolist(), "score": round(face.score, 4), "points": points}
