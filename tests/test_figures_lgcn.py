"""The figures of LGCN: what they show, by hand, and that each command writes its file."""

import shutil

import mxnet as mx
import numpy as np
import pytest

from datasets.ibug_300w import write_pts
from datasets.images import read_image, write_image
from datasets.render.faces import RenderedFaces
from figures import lgcn
from gluon_models.lgcn.network import dense_kernel
from inference.landmark_detector import LocatedFace
from inference.shape_model import fit_shapes, save_shape_model
from untrained import save_random, start_lively


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of a small network that is not trained, and a shape model."""
    folder = tmp_path_factory.mktemp("weights")
    for name, settings in (("net", {}), ("alone", {"side_branch": False, "global_context": False})):
        save_random(folder / f"{name}.params", "lgcn_64", change=start_lively, filters=4, **settings)
    faces = RenderedFaces(20, 0, 64)
    save_shape_model(fit_shapes(np.stack([faces[k].points_image for k in range(20)])), folder / "shape.npz")
    return folder


def draw(tmp_path, *text):
    out = tmp_path / "figure.png"
    assert lgcn.COMMANDS.main([*map(str, text), "--out", str(out), "--gpus", "none"]) == 0
    picture = read_image(out)
    assert picture.std() > 10
    return picture


def test_the_error_of_shifted_kernels_by_hand():
    errors = lgcn.shifted_errors()
    assert errors.shape == (91, 91)
    assert errors[45, 45] == pytest.approx(0, abs=1e-12)
    kernel = dense_kernel()
    for x, y in ((1, 0), (0, 7), (5, -12)):
        one, other = np.zeros((2, 80, 80))
        one[15:60, 15:60] = kernel
        other[15 + y : 60 + y, 15 + x : 60 + x] = kernel
        expected = ((one - other) ** 2).sum() / (2 * (kernel**2).sum())
        assert errors[45 + y, 45 + x] == pytest.approx(expected)
    assert errors[45, 0] == errors[0, 45] == pytest.approx(1)  # they do not touch


def test_a_peak_within_11_pixels_is_better_than_none():
    # Sec. 3.2.2: "rewarded for predictions closer or equal to approximately 11px".
    assert lgcn.gain_radius() == pytest.approx(11, abs=0.5)


def test_rows_are_of_the_upper_errors_and_the_last_of_the_worst():
    errors = np.random.default_rng(0).permutation(200) / 200
    errors[errors < 0.05] = np.nan
    rows = lgcn.rows_by_quantile(errors)
    assert [len(row) for row in rows] == [10] * 5
    assert (np.diff(errors[np.concatenate(rows)]) > 0).all()
    np.testing.assert_allclose(errors[rows[-1]], np.arange(190, 200) / 200)
    assert np.nanmean(errors < errors[rows[0][0]]) >= 0.47
    assert [row.tolist() for row in lgcn.rows_by_quantile(np.array([0.3, 0.1, np.nan]))] == [[1, 0]]


def test_a_sizes_activations_are_joined_by_their_maximum():
    image = np.zeros((8, 12, 3), np.uint8)
    large, small = np.zeros((8, 12), "f"), np.full((2, 3), 0.25, "f")
    large[3, 4] = 0.9
    panels = lgcn.pipeline_panels(image, [large, small])
    assert [text for text, _ in panels] == ["12 x 8 pixels", "3 x 2 pixels", "combined"]
    expected = np.full((8, 12), 0.25)
    expected[3, 4] = 0.9
    np.testing.assert_allclose(panels[-1][1], expected)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ("context", ["--count", "3", "--show", "2"]),
        ("faces", ["--count", "4", "--shape-model"]),
        ("ced", ["--count", "3", "--shape-model"]),
        ("photo", ["--input", "PHOTO", "--min-face", "60", "--shape-model"]),
    ],
)
def test_each_figure_is_drawn(folder, tmp_path, figure, text):
    write_image(tmp_path / "photo.png", RenderedFaces(1, 0, 96)[0].image)
    text = [tmp_path / "photo.png" if word == "PHOTO" else word for word in text]
    more = [folder / "shape.npz"] if text[-1] == "--shape-model" else []
    draw(tmp_path, figure, "--weights", folder / "net.params", *text, *more)


def test_found_and_false_faces_are_counted(folder, tmp_path, monkeypatch, capsys):
    """A finder that finds what it is told: of the two listed photos one face of three, and one that is not there."""
    faces = RenderedFaces(3, 5, 96)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, count in (("a", 2), ("b", 1), ("c", 1)):
        write_image(photos / f"{name}.png", np.full((96, 96, 3), ord(name), np.uint8))
        for k in range(count):
            write_pts(photos / f"{name}_{k}.pts", np.add(faces[k].points_image, (200 * k, 0)))
    (tmp_path / "list.txt").write_text("a\nb\n")
    right, wrong = faces[0].points_image, faces[0].points_image + 50
    told = {ord("a"): [(right, 0.8)], ord("b"): [(wrong, 0.4)]}
    box = np.array([0.0, 0, 9, 9])
    monkeypatch.setattr(
        lgcn.WholePhotoLandmarks,
        "__call__",
        lambda self, image, name="": [LocatedFace(box, points, score) for points, score in told[image[0, 0, 0]]],
    )
    text = ["--photos", photos, "--list", tmp_path / "list.txt", "--weights", folder / "net.params", "--min-face", 30]
    draw(tmp_path, "found", *text, "--shape-model", folder / "shape.npz")
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 photos, 3 of 3 annotated faces of at least 30 pixels" in shown
    assert "0.40 33.3 % 0.50" in shown
    assert "0.45 33.3 % 0.00" in shown
    assert "0.85 0.0 % 0.00" in shown
    (tmp_path / "list.txt").write_text("x\n")
    with pytest.raises(FileNotFoundError, match="no photo that is asked for"):
        draw(tmp_path, "found", *text, "--shape-model", folder / "shape.npz")


def test_both_subnets_are_compared_as_they_answer(folder):
    network = lgcn.TrainedNetwork(folder / "net.params", lgcn.MODELS, mx.cpu())
    crops = np.random.RandomState(0).randint(0, 256, (2, 96, 96, 3)).astype(np.uint8)
    local, full = lgcn.subnet_maps(network, crops)
    faces = mx.nd.array((crops @ (0.299, 0.587, 0.114) / 128 - 1)[:, None] * 0.1)
    np.testing.assert_allclose(full, network.net(faces).asnumpy(), atol=1e-4)
    np.testing.assert_allclose(local, network.net.cascade(faces)[0].asnumpy(), atol=1e-4)
    assert np.abs(local - full).max() > 1e-2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["photo", "--weights", "elsewhere/net.params"], "no shape model beside it: pass --shape-model FILE"),
        (["context", "--weights", "alone.params", "--count", "2"], "no global-context subnet"),
        (["kernel", "--out", "a.jpg"], "ends in .png"),
    ],
)
def test_bad_input(folder, tmp_path, text, message):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    for suffix in (".params", ".json"):
        shutil.copyfile(folder / ("net" + suffix), elsewhere / ("net" + suffix))
    text = [str(folder / word) if word.endswith(".params") else word for word in text]
    out = [] if "--out" in text else ["--out", str(tmp_path / "figure.png")]
    with pytest.raises(ValueError, match=message):
        lgcn.COMMANDS.main([*text, *out, "--gpus", "none"])
