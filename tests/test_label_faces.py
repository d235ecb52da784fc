"""tools/label_faces.py: a network's own answers as labels of photos."""

import numpy as np
import pytest

from datasets import pts_folder
from datasets.ibug_300w import read_pts, write_pts
from datasets.images import read_image, write_image
from datasets.render.faces import RenderedFaces
from evaluation.metrics import nme
from gluon_models import load_weights, shipped_weights
from inference.pipeline import PointPredictor, predict_dataset
from tools import label_faces

COUNT = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Rendered faces in two folders, their points moved by four pixels, as if of another convention."""
    folder = tmp_path_factory.mktemp("photos")
    for index, face in enumerate(RenderedFaces(COUNT, 5, 200)):
        path = folder / ("a" if index < 3 else "b/c") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, face.image)
        write_pts(path.with_suffix(".pts"), face.points_image + 4)
    (folder / "a" / "0.png").write_bytes(b"no picture")
    return folder


def test_labels_are_the_networks_not_the_folders(photos, tmp_path, capsys):
    out = tmp_path / "labelled"
    text = ["--model", "resnet18_slim", "--data", str(photos), "--out", str(out), "--gpus", "none"]
    label_faces.main(text)
    assert "5 faces labelled, 1 not read" in capsys.readouterr().out
    given, labelled = pts_folder.load(photos), pts_folder.load(out)
    assert labelled.names == given.names[1:] == ("a/1", "a/2", "b/c/3", "b/c/4", "b/c/5")
    np.testing.assert_array_equal(read_image(out / "b/c/5.png"), read_image(photos / "b/c/5.png"))

    net, info = load_weights(shipped_weights("resnet18_slim"))
    once, _ = predict_dataset(PointPredictor(net, info.spec), given)
    # The mean of ten answers lies close to one of them, and as far from what the folder says as that.
    assert 0.001 < nme(labelled.points, once[1:], "outer_eye").mean() < 0.03
    assert np.abs(labelled.points - given.points[1:]).mean() > 3
    assert nme(labelled.points, given.points[1:] - 4, "outer_eye").mean() < 0.12
    assert read_pts(out / "a" / "1.pts").shape == (68, 2)


def test_a_folder_that_is_in_use_is_left_alone(photos, tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(ValueError, match="is not empty: name a new folder"):
        label_faces.main(["--data", str(photos), "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
