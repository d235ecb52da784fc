"""The files of a photo: `<stem>.json`, `<stem>_<face>.pts`, `<stem>.png`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from datasets.images import write_image
from datasets.markups import Markup
from datasets.pts_files import write_pts
from inference.aligned_crops import CropTemplate, aligned_crop
from inference.confidence import PointConfidence
from inference.drawing import draw_faces
from inference.landmark_detector import LocatedFace
from inference.media.output_folder import OutputFolder, crop_names, points_names

COORDINATES = "pixels of the upright image, x then y, centre of the first pixel at (0, 0); the .pts files count from 1"


class PhotoFiles:
    """Writes what was found in photos.

    Args:
        folder: where to.
        about: what each JSON holds besides the image and its faces, such as the model.
        markup: of the points.
        indices: draw each landmark's number.
        crops: write each face's aligned crop by this template.
        copies: write annotated copies.
    """

    def __init__(
        self,
        folder: OutputFolder,
        about: Mapping[str, Any],
        markup: Markup,
        indices: bool = False,
        crops: CropTemplate | None = None,
        copies: bool = True,
    ) -> None:
        self._folder, self._about, self._markup = folder, about, markup
        self._indices, self._crops, self._copies = indices, crops, copies

    def write(
        self, photo: Path, image: np.ndarray, faces: Sequence[LocatedFace], confidence: PointConfidence | None = None
    ) -> np.ndarray:
        """Writes the files of one photo aside and then, JSON last, puts them in the place of an earlier run's.

        Returns:
            (H, W, 3) the annotated copy.

        Raises:
            OSError: they could not be written; what an earlier run left is untouched.
        """
        numbers = [f"{number}" for number in range(1, len(faces) + 1)]
        drawn = draw_faces(image, faces, self._markup, numbers, self._indices)
        values = [plain_face(face) for face in faces]
        if confidence is not None:
            for value, each in zip(values, confidence.values):
                value[confidence.kind] = np.round(each, 4).tolist()
                value[f"mean_{confidence.kind}"] = round(float(each.mean()), 4)
        with self._folder.aside(photo) as aside:
            crops = self._write_crops(aside, photo, image, faces, values)
            names = self._write_aside(aside, photo, drawn, faces, values)
            names[-1:-1] = crops
            self._folder.put(aside, photo.stem, names)
        return drawn

    def _write_crops(
        self,
        aside: Path,
        photo: Path,
        image: np.ndarray,
        faces: Sequence[LocatedFace],
        values: Sequence[dict[str, Any]],
    ) -> list[str]:
        """Writes the aligned crops, notes each with its matrix in `values`, and returns their names."""
        if self._crops is None:
            return []
        names = crop_names(photo.stem, len(faces))
        for name, face, value in zip(names, faces, values):
            crop, matrix = aligned_crop(image, face.points, self._markup, self._crops)
            write_image(aside / name, crop)
            value["crop"] = {"file": name, "matrix": np.round(matrix, 6).tolist()}
        return names

    def _write_aside(
        self,
        aside: Path,
        photo: Path,
        drawn: np.ndarray,
        faces: Sequence[LocatedFace],
        values: Sequence[dict[str, Any]],
    ) -> list[str]:
        """The names of the files written, in the order in which they are to appear."""
        stem = photo.stem
        names = points_names(stem, len(faces))
        copies = [f"{stem}.png"] if self._copies else []
        for name in copies:
            write_image(aside / name, drawn)
        for name, face in zip(names, faces):
            write_pts(aside / name, face.points)
        content = {
            "image": str(photo),
            "width": drawn.shape[1],
            "height": drawn.shape[0],
            **self._about,
            "coordinates": COORDINATES,
            "faces": values,
        }
        (aside / f"{stem}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return [*copies, *names, f"{stem}.json"]


def plain_face(face: LocatedFace) -> dict[str, Any]:
    """A face as JSON shows it."""
    points = np.round(face.points, 3).tolist()
    return {"box": np.round(face.box, 3).tolist(), "score": round(face.score, 4), "points": points}
