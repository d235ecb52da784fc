"""The faces of a figure: a data set's, or one in a photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterable, NamedTuple, Sequence

import numpy as np
from matplotlib import cbook

from common import cli
from datasets.catalog import RENDERED_SIDE, TEST_DATASETS, SubsetInfo, chosen_subset, load_subset
from datasets.faces import FaceDataset
from datasets.geometry import transform_points
from datasets.images import read_image
from datasets.render.faces import RenderedFaces
from evaluation.metrics import lengths, nme
from evaluation.protocols import get_protocol
from figures.commands import FaceChoice, check_number, option
from figures.networks import TrainedNetwork
from gluon_models import InputSpec
from inference.detectors import get_detector
from inference.pipeline import crop_faces
from report.plots import Picture

# What chooses the faces of a data set; without --data they are rendered.
FACES = (
    option("--dataset", choices=TEST_DATASETS, help="data set (default: 300w with --data, else rendered)"),
    option("--data", metavar="DIR", type=cli.path, help="folder of the data set; not for rendered faces"),
    option("--subset", help="subset of the data set (default: its first)"),
    option("--allow-missing", action="store_true", help="accept a subset with missing faces"),
    option("--count", type=cli.count, default=200, help="number of rendered faces"),
)
INPUT = option(
    "--input",
    dest="photo",
    metavar="PHOTO",
    type=cli.path,
    help="photo with a face (default: matplotlib's sample photo)",
)
FACE = option("--face", type=cli.count_or_none, help="number of a face of the data set, from 0 (default: 0)")
RENDERED_SEED = 4_000_037  # of faces that no training, validation or evaluation sees
TITLES = {"rendered": "rendered faces", "pts": "faces of your own"}
LENGTHS = {
    "outer_eye": "inter-ocular distance",
    "pupil": "inter-pupil distance",
    "face_size": "face size",
    "box_geometric": "size of its landmark box",
}


@dataclass(frozen=True)
class Sample:
    """Faces cropped for networks, n of them.

    Attributes:
        faces: the data set they are from, to show them more closely.
        indices: which of its faces, (n,).
        title: which faces these are, in words.
        crops: (n, S, S, 3) uint8.
        matrices: (n, 2, 3), image to crop.
        truth_crop: (n, K, 2) pixels of the crop, NaN where not annotated.
        lengths: (n,) what errors are divided by, in pixels of the crop.
        unit: that length in words.
    """

    faces: FaceDataset
    indices: np.ndarray
    title: str
    crops: np.ndarray
    matrices: np.ndarray
    truth_crop: np.ndarray
    lengths: np.ndarray
    unit: str

    def errors(self, points_crop: np.ndarray) -> np.ndarray:
        """Normalized mean error of each face, (n,) fractions, of points (n, K, 2)."""
        return nme(points_crop, self.truth_crop, self.lengths)

    @property
    def curve_text(self) -> tuple[str, str]:
        """What a cumulative curve of these errors shows along its axes."""
        return f"mean error of a face over its {self.unit}", "faces with at most this error"


class _Chosen(NamedTuple):
    """The faces that a command line asks for, what they are in words, and the name of their primary normalizer."""

    faces: FaceDataset
    title: str
    normalizer: str
    face_sizes: np.ndarray | None


def _load_faces(choice: FaceChoice) -> _Chosen:
    name = choice.dataset or ("300w" if choice.data else "rendered")
    subset = chosen_subset(name, choice.subset)
    if name == "rendered":
        faces = RenderedFaces(choice.count, RENDERED_SEED + choice.seed, RENDERED_SIDE)
        about = SubsetInfo(len(faces))
    else:
        faces, about = load_subset(name, choice.data, subset, choice.allow_missing)
    lacks = about.present or ("" if len(faces) == about.expected else f"{len(faces)} of its {about.expected}")
    title = TITLES.get(name, f"faces of {name} {subset}") + (f" ({lacks} at hand)" if lacks else "")
    return _Chosen(faces, title, get_protocol(name, subset).normalizer, about.face_sizes)


def spread(count: int, wanted: int) -> np.ndarray:
    """At most `wanted` of the numbers below `count`, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int))


def load_sample(choice: FaceChoice, network: TrainedNetwork, pick: Callable[[int], Sequence[int]] = range) -> Sample:
    """Crops the chosen faces.

    Args:
        choice: of the faces.
        network: how it sees them.
        pick: which of them, from how many there are; all if left out.

    Raises:
        ValueError: the network places other points than these faces have.
    """
    faces, title, normalizer, face_sizes = _load_faces(choice)
    wanted, has = network.markup.name, faces.markup.name
    if wanted != has:
        raise ValueError(f"{network.source} places the points of {wanted}, but these faces have those of {has}")
    indices = np.array(pick(len(faces)))
    crops, matrices, truth = (np.stack(each) for each in zip(*(_crop(faces, k, network.spec) for k in _bar(indices))))
    known = normalizer
    if normalizer == "face_size":
        known = face_sizes[indices] * matrices[:, 0, 0]
    title = f"{len(indices)} {title}"
    return Sample(faces, indices, title, crops, matrices, truth, lengths(truth, known), LENGTHS[normalizer])


def _crop(faces: FaceDataset, index: int, spec: InputSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    face = faces[index]
    crops, matrices = crop_faces(face.image, [face.box], spec)
    return crops[0], matrices[0], transform_points(face.points_image, matrices[0])


def _bar(indices: Iterable[int]) -> Iterable[int]:
    return cli.progress(indices, "cropping")


def only(face: int | None) -> Callable[[int], list[int]]:
    """Picks the one face that --face names for `load_sample`, the first if it names none."""
    return lambda count: [check_number("face", face or 0, count)]


def one_face(network: TrainedNetwork, faces: FaceChoice, photo: str | None, face: int | None) -> np.ndarray:
    """The crop (S, S, 3) to show: of --input, of the data set's face --face, or of the sample photo.

    Args:
        network: how it sees the face.
        faces: the data set.
        photo: its path.
        face: number in the data set.

    Raises:
        ValueError, FileNotFoundError: both are named, or there is no such face.
    """
    if not faces.data and not faces.dataset and face is None:
        return crop_photo(photo, network.spec)
    if photo:
        raise ValueError("--input names one face, --data, --dataset and --face another: leave one out")
    return load_sample(faces, network, only(face)).crops[0]


def crop_photo(path: str | None, spec: InputSpec) -> np.ndarray:
    """The largest face of a photo as a network sees it, (S, S, 3); see `read_photo`.

    Raises:
        ValueError, FileNotFoundError: there is no such photo, or no face in it.
    """
    image = read_photo(path)
    found = get_detector("haar")(image)
    if not found:
        raise ValueError(f"{path}: no face was found; take a photo of an upright face that looks into the camera")
    return crop_faces(image, [found[0].box], spec)[0][0]


def read_photo(path: str | None) -> np.ndarray:
    """The photo that --input names, (H, W, 3); matplotlib's sample photo where it names none."""
    return read_image(path or cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def extreme_pictures(
    sample: Sample, predicted: np.ndarray, order_by: np.ndarray, count: int
) -> tuple[np.ndarray, list[Picture], list[Picture]]:
    """The worst and the best faces.

    Args:
        sample: the faces.
        predicted: (n, K, 2) pixels of their crops.
        order_by: (n,), what is lower for better faces; one that is NaN is neither.
        count: of each kind.

    Returns:
        The numbers of the faces, the worst from the worst on, then the best from the best on; the same as pictures,
        whose errors are normalized mean errors.
    """
    order = np.argsort(order_by, kind="stable")[: np.count_nonzero(~np.isnan(order_by))]
    worst, best = order[::-1][:count], order[:count]
    errors = sample.errors(predicted)

    def pictures(chosen: np.ndarray) -> list[Picture]:
        names = [sample.faces.names[sample.indices[k]] for k in chosen]
        crops, truth = sample.crops, sample.truth_crop
        return [Picture(crops[k], predicted[k], truth[k], name, errors[k]) for k, name in zip(chosen, names)]

    return np.concatenate([worst, best]), pictures(worst), pictures(best)
