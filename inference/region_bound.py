"""The bound of the region networks' Fig. 6: their parts cut by boxes about the annotated points."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from datasets.geometry import transform_points
from gluon_models.regions.network import RegionCascade, TrueBoxes
from gluon_models.spec import InputSpec, NetworkInput
from inference.pipeline import CroppedFaces, points_from_fractions, to_image


def predict_with_true_boxes(
    cascade: RegionCascade, spec: InputSpec, faces: CroppedFaces, context: mx.Context, batch_size: int = 64
) -> np.ndarray:
    """Landmarks (n, K, 2) in pixels of each face's image, as if the boxes of the parts were known."""
    net, prepare = TrueBoxes(cascade), NetworkInput(spec, [context])
    pairs = zip(faces.truth_image, faces.matrices)
    truth_crop = np.stack([transform_points(points, matrix) for points, matrix in pairs])
    truth = (truth_crop + 0.5) / spec.size
    answers = []
    for start in range(0, len(truth), batch_size):
        chosen = slice(start, start + batch_size)
        answers.append(net(prepare(faces.crops[chosen], context), mx.nd.array(truth[chosen], context)).asnumpy())
    return to_image(points_from_fractions(np.concatenate(answers).astype(np.float64), spec.size), faces.matrices)
