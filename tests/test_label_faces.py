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
    once = predict_dataset(PointPredictor(net, info.spec), given).points_image
    # The mean of ten answers lies close to one of them, and as far from what the folder says as that.
    assert 0.001 < nme(labelled.points, once[1:], "outer_eye").mean() < 0.03
    assert np.abs(labelled.points - given.points[1:]).mean() > 3
    assert nme(labelled.points, given.points[1:] - 4, "outer_eye").mean() < 0.12
    assert read_pts(out / "a" / "1.pts").shape == (68, 2)


def test_the_parts_of_several_processes_are_what_one_labels(photos, tmp_path):
    for out, parts in (("whole", ["1/1"]), ("parts", ["2/2", "1/2"])):
        for part in parts:
            text = ["--model", "resnet18_slim", "--copies", "2", "--data", str(photos), "--out", str(tmp_path / out)]
            label_faces.main([*text, "--shard", part, "--gpus", "none"])
    whole, parts = (pts_folder.load(tmp_path / out) for out in ("whole", "parts"))
    assert whole.names == parts.names
    np.testing.assert_allclose(whole.points, parts.points, atol=2e-3)  # as many decimals as a .pts file has


def test_faces_of_one_photo_stay_in_one(tmp_path):
    face = RenderedFaces(1, 5, 200)[0]
    crowd = tmp_path / "crowd"
    crowd.mkdir()
    write_image(crowd / "two.png", np.concatenate([face.image, face.image], axis=1))
    write_pts(crowd / "two_1.pts", face.points_image)
    write_pts(crowd / "two_2.pts", face.points_image + np.array([200, 0]))
    out = tmp_path / "labelled"
    text = ["--model", "resnet18_slim", "--copies", "1", "--data", str(crowd), "--out", str(out), "--gpus", "none"]
    label_faces.main(text)
    labelled = pts_folder.load(out)
    assert (labelled.names, set(labelled.photo_names)) == (("two_1", "two_2"), {"two"})
    assert sorted(path.name for path in out.glob("*.p*")) == ["two.png", "two_1.pts", "two_2.pts"]
    assert nme(labelled.points, pts_folder.load(crowd).points, "outer_eye").max() < 0.15


def test_a_folder_that_is_in_use_is_left_alone(photos, tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(ValueError, match="is not empty: name a new folder"):
        label_faces.main(["--data", str(photos), "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("out", ["a/labels", "a", "."])
def test_labels_do_not_go_among_the_photos_that_are_labelled(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"--out {out} and --data .*a lie in one another"):
        label_faces.main(["--data", str(tmp_path / "a"), "--out", out])
    assert not list(tmp_path.iterdir())


def test_networks_that_disagree_leave_a_face_out():
    truth = np.array([face.points_image for face in RenderedFaces(2, 5, 200)])
    eyes = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    moved = truth.copy()
    moved[1, :, 0] += 0.2 * eyes[1]
    # Two members lie half of their distance from the mean, on either side.
    np.testing.assert_allclose(label_faces.disagreement(np.stack([truth, moved])), [0, 0.1], atol=1e-9)


def test_two_networks_are_averaged_and_disagreement_is_counted(photos, tmp_path, capsys):
    both = ["--model", "resnet18_slim", "--model", "resnet18_slim", "--copies", "1", "--data", str(photos)]
    rendered = ["--weights", str(shipped_weights("resnet18_slim")), "--weights"]
    rendered.append(str(shipped_weights("resnet18_slim_rendered")))
    label_faces.main([*both, *rendered, "--out", str(tmp_path / "all"), "--gpus", "none"])
    kept = [*both, *rendered, "--agreement", "1e-4", "--out", str(tmp_path / "none"), "--gpus", "none"]
    label_faces.main(kept)
    assert "0 faces labelled, 1 not read, 5 left out on which the networks disagree" in capsys.readouterr().out
    points_image = []
    for weights in rendered[1::2]:
        net, info = load_weights(weights)
        points_image.append(predict_dataset(PointPredictor(net, info.spec), pts_folder.load(photos))[0])
    labelled = pts_folder.load(tmp_path / "all").points
    np.testing.assert_allclose(labelled, np.mean(points_image, axis=0)[1:], atol=2e-3)  # .pts files have three digits
