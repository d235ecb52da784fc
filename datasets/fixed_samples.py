"""A training set that is augmented once, as in DeepPose's paper, instead of in every epoch."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from datasets.augment import Augmentation, TrainingCrop
from datasets.faces import Face, FaceDataset

SIDE = 300  # pixels: "we resize the images [...] to a resolution of 300 x 300" [D10]


class FixedSamples:
    """Every face of a data set as it is, then randomly changed copies of them in turn, always the same ones [D11].

    A sample is a face whose box, with the margin that it was cut by, is the whole of its picture.

    Args:
        dataset: the faces.
        count: samples; as many as there are faces leaves these as they are.
        setting: how the copies are changed.
        margin: of the box, see `datasets.geometry.square_box`.
        seed: of the changes.
        side: of the pictures in pixels.

    Raises:
        ValueError: there are fewer samples than faces.
    """

    def __init__(
        self, dataset: FaceDataset, count: int, setting: Augmentation, margin: float, seed: int = 0, side: int = SIDE
    ) -> None:
        if count < len(dataset):
            raise ValueError(f"{count} samples of {len(dataset)} faces: take at least as many samples")
        self.markup, self._dataset, self._seed, self._margin, self._side = dataset.markup, dataset, seed, margin, side
        self._plain = TrainingCrop(side, margin, dataset.markup, Augmentation())
        self._changed = TrainingCrop(side, margin, dataset.markup, setting)
        faces = len(dataset)
        self.sources = np.arange(count) % faces
        self.names = [f"{dataset.names[face]}#{k // faces}" for k, face in enumerate(self.sources)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Face:
        """Makes one sample."""
        source = int(self.sources[index])
        make = self._plain if index < len(self._dataset) else self._changed
        crop, points = make(self._dataset[source], np.random.default_rng((self._seed, int(index))))
        # With the margin, the square about this box is the whole picture.
        room = 0.5 * self._side * self._margin / (1 + self._margin)
        box = np.array([room, room, self._side - room, self._side - room])
        return Face(crop, points.astype(np.float64), box, self.names[index])


class Chosen:
    """Faces of one or more data sets, picked by number as if these stood one behind the other."""

    def __init__(self, datasets: Sequence[FaceDataset], indices: Sequence[int] | None = None) -> None:
        self.markup = datasets[0].markup
        places = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
        self._places = places if indices is None else [places[index] for index in indices]
        self.names = [dataset.names[index] for dataset, index in self._places]

    @property
    def points(self) -> np.ndarray:
        """Landmarks (N, K, 2) in pixels of their images, where no picture has to be made for them.

        Raises:
            ValueError: rendered faces are among the chosen ones.
        """
        if not all(hasattr(dataset, "points") for dataset, _ in self._places):
            raise ValueError("rendered faces are drawn one by one: their points are not at hand")
        return np.stack([dataset.points[index] for dataset, index in self._places])  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Face:
        """Reads the face."""
        dataset, place = self._places[index]
        return dataset[place]


def split_samples(samples: FixedSamples, fraction: float, seed: int = 0) -> tuple[Chosen, Chosen]:
    """Parts samples at random into (train, validation), whichever faces they show: copies of one may be in both."""
    order = np.random.default_rng(seed).permutation(len(samples))
    count = max(1, round(fraction * len(samples)))
    return Chosen([samples], order[count:].tolist()), Chosen([samples], order[:count].tolist())
