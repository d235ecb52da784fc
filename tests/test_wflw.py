"""WFLW's lists, written here by hand."""

import numpy as np
import pytest
from PIL import Image

from datasets import wflw
from datasets.catalog import load_subset, training_pair
from datasets.markups import WFLW_98
from evaluation.metrics import nme
from evaluation.protocols import get_protocol

COUNT = 12


def line(points, attributes, photo):
    numbers = " ".join(f"{value:.6f}" for value in points.ravel())
    return f"{numbers} 1 2 30 40 {' '.join(map(str, attributes))} {photo}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Twelve faces in six photos; attribute k is face k's alone."""
    monkeypatch.setattr(wflw, "SUBSETS", {"train": COUNT, "test": COUNT, **dict.fromkeys(wflw.ATTRIBUTES, 1)})
    points = np.random.default_rng(0).uniform(2, 40, (COUNT, 98, 2)).round(3)
    rows = []
    for k in range(COUNT):
        name = f"{k // 2}--Meeting/{k // 2}_Meeting a.jpg"
        path = tmp_path / "WFLW_images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((48, 64, 3), 20 * (k // 2), np.uint8)).save(path)
        rows.append(line(points[k], [int(k == attribute) for attribute in range(6)], name))
    lists = tmp_path / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    for name in wflw.LISTS.values():
        (lists / name).write_text("\n".join(rows) + "\n")
    return tmp_path, points, lists


def test_faces_come_with_their_photo_points_and_name(home):
    root, points, _ = home
    faces = wflw.load(root, "test")
    assert (faces.markup, len(faces)) == (WFLW_98, COUNT)
    assert faces.names[3] == "1--Meeting/1_Meeting a-4"
    assert wflw.photo_of(faces.names[3]) == "1--Meeting/1_Meeting a"
    np.testing.assert_allclose(faces[3].points_image, points[3], atol=1e-6)
    assert faces[3].image[0, 0].tolist() == pytest.approx([20, 20, 20], abs=2)


def test_each_attribute_is_a_subset(home):
    for number, attribute in enumerate(wflw.ATTRIBUTES):
        faces, about = load_subset("wflw", str(home[0]), attribute)
        assert (len(faces), about.expected) == (1, 1)
        assert faces.names[0].endswith(f"-{number + 1}")


def test_the_published_counts():
    assert wflw.SUBSETS == {
        **{"train": 7500, "test": 2500, "pose": 326, "expression": 314},
        **{"illumination": 698, "makeup": 206, "occlusion": 736, "blur": 773},
    }


def test_faces_of_a_photo_stay_together(home):
    train, validation = training_pair("wflw", str(home[0]))
    assert len(train) + len(validation) == COUNT
    assert not {wflw.photo_of(name) for name in train.names} & {wflw.photo_of(name) for name in validation.names}


def test_errors_are_over_the_distance_of_points_60_and_72(home):
    truth = home[1][:1].copy()
    truth[0, 60], truth[0, 72] = (10, 20), (50, 50)  # 50 apart
    protocol = get_protocol("wflw", "pose")
    assert nme(truth + np.array([3, 4]), truth, protocol.normalizer)[0] == pytest.approx(0.1)
    assert protocol.failure_threshold == protocol.auc_threshold == 0.10


def test_what_is_missing_or_damaged_is_named(home):
    root, points, lists = home
    (root / "WFLW_images" / "0--Meeting" / "0_Meeting a.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"WFLW test has 10 of 12 faces \(0--Meeting/0_Meeting a.jpg is not there"
    ):
        wflw.load(root, "test")
    assert wflw.load(root, "test", allow_missing=True).names[0] == "1--Meeting/1_Meeting a-3"
    listing = lists / wflw.LISTS["train"]
    for bad in ("1 2 3 a.jpg", line(points[0], [0, 0, 2, 0, 0, 0], "a.jpg"), line(points[0], [0] * 6, "../../a.jpg")):
        listing.write_text(bad)
        with pytest.raises(
            ValueError, match=r"train.txt, line 1: not 196 coordinates, a box, 6 attributes and a photo"
        ):
            wflw.load(root, "train", allow_missing=True)
    kept = wflw.load(root, "train", allow_missing=True, keep_damaged=True)
    with pytest.raises(ValueError, match="line 1: not 196"):
        kept[0]
    listing.unlink()
    with pytest.raises(FileNotFoundError, match="train.txt is not there; unpack WFLW_annotations"):
        wflw.load(root, "train")
