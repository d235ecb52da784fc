"""What a figure is made of, as command lines name it: networks, faces of a data set, one face of a photo."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from typing import Callable, Iterable, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from matplotlib import cbook
from tqdm import tqdm

from datasets.catalog import RENDERED_SIDE, TEST_DATASETS, SubsetInfo, chosen_subset, load_subset
from datasets.faces import FaceDataset
from datasets.geometry import transform_points
from datasets.images import read_image
from datasets.markups import get_markup
from datasets.synthetic import SyntheticFaces
from evaluation.metrics import lengths, nme
from evaluation.plots import NETWORK_LINES
from evaluation.protocols import get_protocol
from gluon_models import InputSpec, NetworkInput, load_weights
from gluon_models.ffld import FFLD, SlimResNet, all_stages
from inference.detectors import get_detector
from inference.landmark_detector import find_weights
from inference.pipeline import PointPredictor, crop_faces

RENDERED_SEED = 4_000_037  # of faces that no training, validation or evaluation sees
TITLES = {"rendered": "rendered faces", "pts": "faces of your own"}
LENGTHS = {
    "outer_eye": "inter-ocular distance",
    "pupil": "inter-pupil distance",
    "face_size": "face size",
    "box_geometric": "size of its landmark box",
}


class Network:
    """A trained network that answers the points of all its stages; a baseline has one.

    Args:
        path: a .params file with its .json, or the name of weights that ship.
        context: where it runs.

    Attributes:
        label: what legends call it.
        file_label: the same, by its file.
        source: the same, for messages.
        net: FFLD, or one of its baselines.
        baseline: FFLD's, or the network itself.
        spec: how it sees a face.
        markup: of its points.

    Raises:
        ValueError, FileNotFoundError: no such weights, or those of a network that is neither.
    """

    def __init__(self, path: str, context: mx.Context) -> None:
        file = find_weights(path)
        self.net, info = load_weights(file, ctx=context)
        if not isinstance(self.net, (FFLD, SlimResNet)):
            raise ValueError(f"{path} holds weights of {info.model}: these figures need FFLD or one of its baselines")
        self.baseline: SlimResNet = self.net.cascade.baseline if isinstance(self.net, FFLD) else self.net
        self.label = info.model
        self.file_label = f"{file.resolve().parent.name}/{file.stem}"
        self.source = f"{info.model} of {file}"
        self.spec, self.markup = info.spec, get_markup(self.baseline.num_landmarks)
        self._context = context
        self._input = NetworkInput(info.spec, [context])
        self._predictor = PointPredictor(partial(all_stages, self.net), info.spec, context)

    def refined(self) -> FFLD:
        """The network, which must have refinements.

        Raises:
            ValueError: it is a baseline.
        """
        if not isinstance(self.net, FFLD):
            raise ValueError(f"{self.source} has no CropNets: name weights of ffld_resnet18 or ffld_resnet50")
        return self.net

    def stages(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) -> points_crop (stages, n, K, 2) of the baseline network and of each refinement."""
        points = self._predictor(crops).reshape(len(crops), -1, self.baseline.num_landmarks, 2)
        return points.swapaxes(0, 1)

    def points(self, crops: np.ndarray) -> np.ndarray:
        """Crops (n, S, S, 3) -> points_crop (n, K, 2) of the last stage."""
        return self.stages(crops)[-1]

    def input(self, crop: np.ndarray) -> mx.nd.NDArray:
        """Crop (S, S, 3) -> what the network takes, (1, 3, S, S)."""
        return self._input(crop[None], self._context)


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
        """Normalised mean error of each face, (n,) fractions, of points (n, K, 2)."""
        return nme(points_crop, self.truth_crop, self.lengths)


def add_network_arguments(parser: argparse.ArgumentParser, shipped: Sequence[str]) -> None:
    """Adds --weights and --labels, for as many networks as there are names in `shipped`, or more if several."""
    what = ".params with its .json beside it, or the name of weights that ship"
    count = "+" if len(shipped) > 1 else 1
    parser.add_argument("--weights", metavar="FILE", nargs=count, default=list(shipped), help=what)
    parser.add_argument("--labels", metavar="WORDS", nargs=count, help="what to call the networks, one for each FILE")


def add_face_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what chooses the faces; without --data they are rendered."""
    parser.add_argument("--dataset", choices=TEST_DATASETS, help="300w if --data is given, else rendered")
    parser.add_argument("--data", metavar="DIR", help="folder of the data set; rendered faces need none")
    parser.add_argument("--subset", help="part of the data set; the first that it has if left out")
    parser.add_argument("--allow-missing", action="store_true", help="take the part of the subset that is there")
    parser.add_argument("--count", type=cli_count, default=200, help="rendered faces")


def cli_count(text: str) -> int:
    """A whole number of at least 1, for a command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of at least 1")
    return int(text)


def load_networks(weights: Sequence[str], labels: Sequence[str] | None, context: mx.Context) -> list[Network]:
    """The networks that --weights and --labels name; all of one markup and one crop.

    Raises:
        ValueError, FileNotFoundError: weights that are missing or do not go together, or not one label for each.
    """
    if labels is not None and len(labels) != len(weights):
        raise ValueError(f"{len(labels)} --labels for {len(weights)} --weights: give one for each")
    if len(weights) > len(NETWORK_LINES):
        raise ValueError(f"{len(weights)} --weights: a figure compares {len(NETWORK_LINES)} networks at most")
    networks = [Network(path, context) for path in weights]
    first = networks[0]
    for other in networks[1:]:
        if (other.markup, other.spec) != (first.markup, first.spec):
            raise ValueError(f"{other.source} and {first.source} see faces or place points differently: compare alike")
    models = [network.label for network in networks]
    for network, label in zip(networks, labels or models):
        same = labels is None and models.count(label) > 1
        network.label = network.file_label if same else label
    names = [network.label for network in networks]
    if len(set(names)) < len(names):
        raise ValueError(f"several networks are called {', '.join(names)}: give each a name of its own with --labels")
    return networks


class _Chosen(NamedTuple):
    """The faces that a command line asks for, what they are in words, and the name of their normaliser of record."""

    faces: FaceDataset
    title: str
    normalizer: str
    face_sizes: np.ndarray | None


def _load_faces(arguments: argparse.Namespace) -> _Chosen:
    name = arguments.dataset or ("300w" if arguments.data else "rendered")
    subset = chosen_subset(name, arguments.subset)
    if name == "rendered":
        faces = SyntheticFaces(arguments.count, RENDERED_SEED + arguments.seed, RENDERED_SIDE)
        about = SubsetInfo(len(faces))
    else:
        faces, about = load_subset(name, arguments.data, subset, arguments.allow_missing)
    lacks = about.present or ("" if len(faces) == about.expected else f"{len(faces)} of its {about.expected}")
    title = TITLES.get(name, f"faces of {name} {subset}") + (f" ({lacks} at hand)" if lacks else "")
    return _Chosen(faces, title, get_protocol(name, subset).normalizer, about.face_sizes)


def spread(count: int, wanted: int) -> np.ndarray:
    """At most `wanted` of the numbers below `count`, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int))


def load_sample(
    arguments: argparse.Namespace, network: Network, pick: Callable[[int], Sequence[int]] = range
) -> Sample:
    """Crops the faces that the command line asks for.

    Args:
        arguments: of `add_face_arguments`.
        network: how it sees them.
        pick: which of them, from how many there are; all if left out.

    Raises:
        ValueError: the network places other points than these faces have.
    """
    faces, title, normalizer, face_sizes = _load_faces(arguments)
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
    return tqdm(indices, "cropping", unit="face", disable=None)


def crop_photo(path: str | None, spec: InputSpec) -> np.ndarray:
    """The largest face of a photo as a network sees it, (S, S, 3); of matplotlib's sample photo where none is named.

    Raises:
        ValueError, FileNotFoundError: there is no such photo, or no face in it.
    """
    image = read_image(path or cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    found = get_detector("haar")(image)
    if not found:
        raise ValueError(f"{path}: no face was found; take a photo of an upright face that looks into the camera")
    return crop_faces(image, [found[0].box], spec)[0][0]
