"""The rendered video: the same frames each time, faces that move, and points that lie where the picture shows them."""

import numpy as np
import pytest

from datasets.render import video as rendered_video
from datasets.render.faces import RenderedFace
from datasets.render.video import RenderedVideo


def test_a_frame_depends_on_its_number_alone():
    one, other = RenderedVideo(40, seed=3, faces=1, side=96), RenderedVideo(50, seed=3, faces=1, side=96)
    other[12]
    np.testing.assert_array_equal(one[7].image, other[7].image)
    np.testing.assert_array_equal(one[7].points_image, other[7].points_image)
    assert one[7].image.shape == (96, 96, 3)
    assert one[7].points_image.shape == (1, 68, 2)
    # The camera's noise is new in each frame, where nothing moves too.
    corner = [each.image[:6, :6].astype(float) for each in (one[7], one[8])]
    assert 2 < np.std(corner[0] - corner[1]) < 6


def spot_at(*places):
    """A rendered face that is a spot of light at each of its points."""

    def render(rng, size, person):
        y, x = np.mgrid[:size, :size]
        light = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 50.0) for cx, cy in places)
        image = np.repeat((250 * light).clip(0, 250).astype(np.uint8)[..., None], 3, axis=2)
        return RenderedFace(image, np.array(places, float), np.ones(len(places), bool))

    return render


def test_points_lie_where_the_picture_shows_them(monkeypatch):
    monkeypatch.setattr(rendered_video, "render_face", spot_at((100.0, 150.0)))
    monkeypatch.setattr(rendered_video, "background", lambda rng, size: np.zeros((size, size, 3), np.float32))
    monkeypatch.setattr(rendered_video, "_NOISE", 0.0)
    video = RenderedVideo(60, seed=1, faces=2, side=200)
    y, x = np.mgrid[:200, :200]
    places = []
    for index in (0, 20, 40):
        image, points = video[index]
        assert image.shape == (200, 400, 3)
        for face in range(2):
            light = image[:, 200 * face : 200 * (face + 1), 0].astype(float)
            centre = [(light * each).sum() / light.sum() for each in (x + 200 * face, y)]
            np.testing.assert_allclose(points[face, 0], centre, atol=0.15)
        places.append(points[:, 0])
    assert np.ptp(places, axis=0).max(axis=1).min() > 10  # both have moved


def test_faces_move_little_from_frame_to_frame():
    video = RenderedVideo(100, seed=0, faces=1, side=96)
    points = np.stack([video[index].points_image[0] for index in (10, 11, 12)])
    size = np.ptp(points[0], axis=0).max()
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1) / size
    assert 0 < steps.max() < 0.15


@pytest.mark.parametrize(
    "bad", [{"count": 0}, {"count": 5, "faces": 0}, {"count": 5, "rate": 0.0}, {"count": 5, "seed": -1}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="above 0"):
        RenderedVideo(**bad)


def test_frames_beyond_the_end():
    with pytest.raises(IndexError):
        RenderedVideo(3, side=96)[3]
