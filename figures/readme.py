"""The picture at the top of README.md: landmarks on a public-domain photo and on three rendered faces, as one PNG file.

The photo is matplotlib's of Grace Hopper. Faces and points are found as predict.py finds them.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np
from matplotlib import cbook

from common import cli
from datasets.geometry import crop_matrix, square_box, transform_points, warp_image
from datasets.images import read_image
from datasets.render.faces import RenderedFaces
from engine import devices
from figures.commands import write_picture
from inference.drawing import draw_faces
from inference.landmark_detector import LandmarkDetector, LocatedFace

RENDERED = (6, 13, 14)  # numbers of faces that differ in pose, light and age
SEED, SIDE = 4_000_100, 480  # of the rendered faces, pixels
MARGIN = 0.42  # about the landmarks' box
TILE, GAP = 268, 4  # pixels


def photos() -> list[np.ndarray]:
    """The four photos, (H, W, 3) each."""
    rendered = RenderedFaces(max(RENDERED) + 1, SEED, SIDE)
    hopper = read_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    return [hopper, *(rendered[number].image for number in RENDERED)]


def draw_tile(detector: LandmarkDetector, image: np.ndarray) -> np.ndarray:
    """The first face of a photo with its points, (TILE, TILE, 3); ValueError if no face was found."""
    found = detector(image)
    if not found:
        raise ValueError("no face was found in one of the photos: name other weights")
    face = found[0]
    matrix = crop_matrix(square_box(face.box, MARGIN), TILE)
    box = transform_points(face.box.reshape(2, 2), matrix).ravel()
    drawn = LocatedFace(box, transform_points(face.points, matrix), face.score)
    return draw_faces(warp_image(image, matrix, TILE), [drawn], detector.markup)


def draw_row(detector: LandmarkDetector) -> bytes:
    """All tiles in a row, as a PNG file."""
    gap = np.full((TILE, GAP, 3), 255, np.uint8)
    tiles = [draw_tile(detector, image) for image in photos()]
    row = np.hstack([part for tile in tiles for part in (tile, gap)][:-1])
    _, encoded = cv2.imencode(".png", cv2.cvtColor(row, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return encoded.tobytes()


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the picture."""
    parser = cli.make_parser(__doc__)
    parser.prog = "python -m figures.readme"
    parser.add_argument(
        "--out", metavar="FILE.png", type=cli.path, default="docs/images/faces.png", help="output picture"
    )
    parser.add_argument(
        "--weights", metavar="FILE", type=cli.path, default="hourglass_resnet50", help="shipped network or .params file"
    )
    cli.add_device_arguments(parser)
    arguments = parser.parse_args(argv)
    context = devices.contexts(arguments.gpus)[0]
    detector = LandmarkDetector.from_pretrained(arguments.weights, ctx=context)
    write_picture(arguments.out, lambda: draw_row(detector))
    return 0


if __name__ == "__main__":
    cli.run(main)
