"""Windows of photos that show no face, and what training makes of them."""

import numpy as np
import pytest

from datasets.augment import Augmentation, TrainingCrop
from datasets.background import BackgroundWindows, marked_boxes
from datasets.images import write_image
from datasets.markups import IBUG_68
from gluon_models.lgcn.objective import heatmap_weights

VOC = "<annotation><filename>photo.png</filename>{}</annotation>"
OBJECT = "<object><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


@pytest.fixture
def folder(tmp_path):
    """Two photos whose red channel marks a face in the middle, one without, and one without room."""
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    for name, x0, y0 in (("a", 140, 90), ("b", 200, 60)):
        photo = np.full((240, 400, 3), 60, np.uint8)
        photo[y0 : y0 + 70, x0 : x0 + 60, 0] = 255
        write_image(tmp_path / "images" / f"{name}.png", photo)
        text = VOC.format(OBJECT.format(x0, y0, x0 + 60, y0 + 70))
        (tmp_path / "annotations" / f"{name}.xml").write_text(text)
    write_image(tmp_path / "images" / "c.png", np.full((100, 90, 3), 60, np.uint8))
    write_image(tmp_path / "images" / "small.png", np.full((30, 500, 3), 60, np.uint8))
    return tmp_path / "images"


def test_windows_show_no_marked_face(folder):
    windows = BackgroundWindows(folder, 60, IBUG_68)
    assert len(windows) == len(set(windows.names)) == 60
    counts = [sum(name.startswith(photo) for name in windows.names) for photo in ("a", "b", "c", "small")]
    assert counts[3] == 0
    assert min(counts[:3]) >= 15
    crop = TrainingCrop(96, 0.0, IBUG_68, Augmentation())
    sides = []
    for index in range(60):
        face = windows[index]
        sides.append(face.box[2] - face.box[0])
        assert face.box[3] - face.box[1] == pytest.approx(sides[-1])
        shown, points = crop(face, np.random.default_rng(0))
        assert shown.min() == 60  # the window lies within the photo, where there is no black border...
        assert shown.max() == 60  # ... and away from the red face
        assert (points < -1000).all()
    assert min(sides) < 60
    assert max(sides) > 90


def test_crops_that_show_more_than_the_window_show_no_marked_face(folder):
    """The paper's augmentation (Sec. 4) and box margin."""
    windows = BackgroundWindows(folder, 60, IBUG_68)
    crop = TrainingCrop(96, 0.17, IBUG_68, Augmentation(rotation_degrees=30, scale_fraction=0.125))
    crops = [crop(windows[k], np.random.default_rng((k, seed)))[0] for k in range(60) for seed in range(5)]
    assert np.max(crops) == 60


def test_turned_and_moved_crops_are_filled_as_far_as_the_photo_goes(folder):
    (folder / "a.png").unlink()
    (folder / "b.png").unlink()
    (folder / "small.png").unlink()
    write_image(folder / "c.png", np.full((1000, 1000, 3), 60, np.uint8))
    windows = BackgroundWindows(folder, 30, IBUG_68)
    crop = TrainingCrop(96, 0.17, IBUG_68, Augmentation(rotation_degrees=45, scale_fraction=0.125, shift_fraction=0.05))
    for index, (_, window) in enumerate(windows._windows):
        if window[2] - window[0] < 200 and (window[:2] > 250).all() and (window[2:] < 750).all():
            assert crop(windows[index], np.random.default_rng(index))[0].min() == 60


def test_eq_3_counts_them_a_tenth(folder):
    windows = BackgroundWindows(folder, 2, IBUG_68)
    _, points = TrainingCrop(96, 0.17, IBUG_68, Augmentation())(windows[0], np.random.default_rng(0))
    weights = heatmap_weights(points[None], 96)
    np.testing.assert_allclose(weights.landmarks, 0.1)
    np.testing.assert_allclose(weights.labelled, 1)


def test_the_same_seed_draws_the_same_windows(folder):
    one, two, other = (BackgroundWindows(folder, 9, IBUG_68, seed) for seed in (0, 0, 1))
    boxes = [np.stack([each[k].box for k in range(9)]) for each in (one, two, other)]
    np.testing.assert_array_equal(boxes[0], boxes[1])
    assert not np.allclose(boxes[0], boxes[2])


def test_bad_folders(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        BackgroundWindows(tmp_path / "none", 3, IBUG_68)
    with pytest.raises(ValueError, match="no photo has room"):
        BackgroundWindows(tmp_path / "annotations", 3, IBUG_68)
    (tmp_path / "annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"a\.xml: not a readable VOC annotation"):
        BackgroundWindows(folder, 3, IBUG_68)
    assert marked_boxes(folder / "c.png").shape == (0, 4)
