"""Rendered faces: reproducible bytes, landmarks where the picture shows them, visibility, variety and speed."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from datasets.markups import IBUG_68
from datasets.render import faces as rendered_faces
from datasets.render import labels
from datasets.render import mesh as face_mesh
from datasets.render.faces import RenderedFaces, render_face
from datasets.render.mesh import CONTROLS, Expression, Pose
from datasets.render.person import Person, random_person

_NOBODY = np.zeros(face_mesh.NUM_IDENTITY)


def _person(yaw: float = 0.0) -> Person:
    expression, look = Expression(), random_person(np.random.default_rng(0)).look
    return Person(face_mesh.make_controls(_NOBODY, _NOBODY, expression), expression, Pose(yaw, 0.0, 0.0, 1500.0), look)


def _digest(faces: RenderedFaces, indices: list[int]) -> str:
    digest = hashlib.sha256()
    for i in indices:
        face = faces.render(i)
        for part in (face.image, face.points_image, face.visible):
            digest.update(part.tobytes())
    return digest.hexdigest()


def test_same_seed_gives_same_bytes_in_another_process_with_other_threads():
    code = (
        "import cv2; cv2.setNumThreads(1); import sys; sys.path.insert(0, '.');"
        "from tests.test_rendered_faces import _digest, RenderedFaces;"
        "print(_digest(RenderedFaces(9, seed=3), [5, 2, 8]))"
    )
    root = rendered_faces.__file__.rsplit("datasets", 1)[0]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    faces = RenderedFaces(9, seed=3)
    faces.render(0)
    assert other.stdout.strip() == _digest(faces, [5, 2, 8])


def test_a_face_depends_on_seed_and_number_alone():
    assert _digest(RenderedFaces(3, seed=1), [2]) == _digest(RenderedFaces(500, seed=1), [2])
    assert _digest(RenderedFaces(3, seed=1), [2]) != _digest(RenderedFaces(3, seed=2), [2])
    assert _digest(RenderedFaces(3, seed=1), [2]) != _digest(RenderedFaces(3, seed=1), [1])


def test_dataset_hands_out_faces_with_tight_boxes():
    faces = RenderedFaces(3, seed=4, size=96)
    face = faces[1]
    assert len(faces) == 3
    assert faces.names[1] == face.name == "rendered_000001"
    assert faces.markup is IBUG_68
    assert face.image.shape == (96, 96, 3)
    assert face.image.dtype == np.uint8
    assert face.points_image.shape == (68, 2)
    assert face.points_image.dtype == np.float64
    assert face.box.tolist() == [*face.points_image.min(axis=0), *face.points_image.max(axis=0)]
    with pytest.raises(IndexError):
        faces[3]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="at least 32 pixels, got 8"):
        render_face(np.random.default_rng(0), size=8)
    with pytest.raises(ValueError, match="got -1 and 0"):
        RenderedFaces(-1)


def test_projection_is_the_pinhole_cameras():
    point = np.array([[30.0, -20.0, 40.0]])
    # Turned by 90 degrees, depth becomes x and x becomes depth away from the camera: x' = 40, z' = -30.
    expected = [40 * 600 / 630, -20 * 600 / 630, -30]
    assert face_mesh.project(point, Pose(90, 0, 0, 600.0))[0] == pytest.approx(expected)
    # Nodding by 90 degrees takes depth to y; rolling by 90 degrees takes y to minus x.
    assert face_mesh.project(point, Pose(0, 90, 0, 600.0))[0] == pytest.approx([30 * 600 / 580, 40 * 600 / 580, 20])
    assert face_mesh.project(point, Pose(0, 0, 90, 600.0))[0] == pytest.approx([20 * 600 / 560, 30 * 600 / 560, 40])


def test_landmarks_lie_on_the_sheet():
    rng = np.random.default_rng(1)
    ticks = np.linspace(*face_mesh.TEXTURE_SPAN, face_mesh.GRID)
    for _ in range(5):
        controls = random_person(rng).controls
        vertices = face_mesh.make_vertices(controls)
        where = ((CONTROLS.plane[17:68] - ticks[0]) / (ticks[1] - ticks[0])).astype(np.float32)
        on_sheet = cv2.remap(vertices, where[None, :, 0].copy(), where[None, :, 1].copy(), cv2.INTER_CUBIC)[0]
        assert np.linalg.norm(on_sheet - controls[17:68], axis=1).max() < 0.8  # mm, of 90 between the eyes


def test_mirrored_people_have_mirrored_landmarks():
    rng = np.random.default_rng(2)
    mirror_image = CONTROLS.space * (-1, 1, 1)
    partner = np.linalg.norm(CONTROLS.space[:, None] - mirror_image[None], axis=2).argmin(axis=0)
    partner[:68] = IBUG_68.flip_order
    for _ in range(4):
        controls = random_person(rng).controls
        pose, mirrored_pose = Pose(35.0, 8.0, -12.0, 900.0), Pose(-35.0, 8.0, 12.0, 900.0)
        points = face_mesh.project(labels.as_annotated(labels.landmarks_3d(controls, pose)), pose)
        twin = controls[partner] * (-1, 1, 1)
        twins = labels.as_annotated(labels.landmarks_3d(twin, mirrored_pose))
        mirrored = face_mesh.project(twins, mirrored_pose)
        assert mirrored[list(IBUG_68.flip_order)] * (-1, 1, 1) == pytest.approx(points, abs=1e-6)


def test_labels_stand_where_the_annotators_place_them():
    moved = labels.as_annotated(np.zeros((68, 3)))
    assert moved[33].tolist() == [0, 4, 0]  # below the nose
    assert moved[36].tolist() == [3.5, -0.5, 0]  # the outer eye corners, both towards the nose
    assert moved[45].tolist() == [-3.5, -0.5, 0]
    open_mouth = np.zeros((68, 3))
    open_mouth[66] = 0, 5.5, 0  # half way from closed, 1 mm, to wide open, 10 mm
    assert (labels.as_annotated(open_mouth) - open_mouth)[[49, 53, 62, 66]].tolist() == [
        [-1.5, 0.75, 0],  # from 1, 2 towards -4, -0.5
        [1.5, 0.75, 0],
        [0, 0, 0],  # from 2 towards -2
        [0, 3.75, 0],  # from 2.5 towards 5
    ]
    face, person = render_face(np.random.default_rng(3), person=_person()), _person()
    anatomical = face_mesh.project(labels.landmarks_3d(person.controls, person.pose), person.pose)
    eyes, nose = face.points_image[[36, 45]], face.points_image[33]
    assert (nose[1] - eyes[0, 1]) / np.ptp(eyes[:, 0]) == pytest.approx(
        (anatomical[33, 1] - anatomical[36, 1] + 4.5) / (np.ptp(anatomical[[36, 45], 0]) - 7), rel=0.02
    )


def test_movements_move_their_own_landmarks():
    def landmarks(**strengths: object) -> np.ndarray:
        return face_mesh.make_controls(_NOBODY, _NOBODY, Expression(**strengths))[:68]

    rest = landmarks()
    assert landmarks(jaw_open=20.0)[66, 1] - rest[66, 1] == pytest.approx(20, abs=1)
    assert landmarks(jaw_open=20.0)[62] == pytest.approx(rest[62], abs=0.5)
    shut = landmarks(eye_closed=(1.0, 0.0))
    assert shut[[37, 38]] == pytest.approx(shut[[41, 40]], abs=0.8)
    assert shut[42:48] == pytest.approx(rest[42:48])
    smile = landmarks(smile=(1.0, 0.0))
    assert smile[48, 1] < rest[48, 1] - 3
    assert smile[48, 0] < rest[48, 0] - 3
    assert np.abs(smile[54] - rest[54]).max() < 0.5
    raised = landmarks(brow_raise=(0.0, 1.0))
    assert (raised[22:27, 1] < rest[22:27, 1] - 4).all()
    assert raised[17:21] == pytest.approx(rest[17:21], abs=0.1)


def _plain_picture(person: Person, monkeypatch: pytest.MonkeyPatch, texture: np.ndarray) -> rendered_faces.RenderedFace:
    """Renders a given texture with flat light, nothing in front, and a perfect camera."""
    monkeypatch.setattr(rendered_faces, "paint_face", lambda *_: texture)
    monkeypatch.setattr(
        rendered_faces, "_shade", lambda normals, _: np.ones((*normals.shape[:2], 4), np.float32) * (1, 1, 1, 0)
    )
    monkeypatch.setattr(rendered_faces.labels, "as_annotated", lambda landmarks: landmarks)
    monkeypatch.setattr(rendered_faces.face_scene, "draw_in_front", lambda *_: None)
    monkeypatch.setattr(rendered_faces.face_scene, "draw_behind", lambda *_: None)
    monkeypatch.setattr(rendered_faces.face_scene, "background", lambda _, size: np.zeros((size, size, 3), np.float32))
    monkeypatch.setattr(
        rendered_faces.face_scene, "photograph", lambda image, _: np.clip(image, 0, 255).astype(np.uint8)
    )
    return render_face(np.random.default_rng(5), person=person)


def _disc(landmark: int, radius: float) -> np.ndarray:
    """A texture that is black but for a white disc, radius in mm, about one landmark."""
    ticks = np.linspace(*face_mesh.TEXTURE_SPAN, rendered_faces.TEXTURE_SIZE)
    s, t = CONTROLS.plane[landmark]
    inside = (ticks[None, :] - s) ** 2 + (ticks[:, None] - t) ** 2 < radius**2
    return np.repeat(inside[..., None], 3, axis=2).astype(np.float32) * 255


@pytest.mark.parametrize(
    ("yaw", "landmarks"), [(0, (17, 30, 33, 36, 45, 57)), (30, (19, 27, 33, 36, 48)), (-50, (24, 45, 54))]
)
def test_paint_at_a_landmark_appears_at_its_projection(yaw, landmarks, monkeypatch):
    for landmark in landmarks:
        face = _plain_picture(_person(yaw=yaw), monkeypatch, _disc(landmark, 4.0))
        brightness = face.image[..., 0].astype(float)
        rows, columns = np.mgrid[: len(brightness), : len(brightness)]
        centre = np.array([(columns * brightness).sum(), (rows * brightness).sum()]) / brightness.sum()
        assert brightness.sum() > 0
        assert np.abs(centre - face.points_image[landmark]).max() < 1.5, landmark


def test_painted_lips_and_irises_lie_between_their_landmarks():
    person = _person(yaw=0.0)
    look = person.look.__class__(**{**person.look.__dict__, "gaze": (0.0, 0.0)})
    texture = rendered_faces.paint_face(np.random.default_rng(0), look, person.expression, person.controls)
    millimetres = (face_mesh.TEXTURE_SPAN[1] - face_mesh.TEXTURE_SPAN[0]) / (rendered_faces.TEXTURE_SIZE - 1)
    for corners in ((36, 39), (42, 45)):
        (s0, t0), (s1, t1) = CONTROLS.plane[list(corners)]
        low = ((np.array([min(s0, s1) + 4, -4.0]) - face_mesh.TEXTURE_SPAN[0]) / millimetres).astype(int)
        high = ((np.array([max(s0, s1) - 4, 4.0]) - face_mesh.TEXTURE_SPAN[0]) / millimetres).astype(int)
        darkness = 255 - texture[low[1] : high[1], low[0] : high[0]].mean(axis=2).clip(0, 255)
        darkness = np.maximum(darkness - np.percentile(darkness, 70), 0)
        columns = np.arange(low[0], high[0]) * millimetres + face_mesh.TEXTURE_SPAN[0]
        assert (darkness.sum(axis=0) * columns).sum() / darkness.sum() == pytest.approx((s0 + s1) / 2, abs=2.0)


def test_the_head_hides_what_is_behind_it(monkeypatch):
    texture = np.full((rendered_faces.TEXTURE_SIZE, rendered_faces.TEXTURE_SIZE, 3), 128, np.float32)
    frontal = _plain_picture(_person(), monkeypatch, texture)
    assert frontal.visible[17:].all()
    turned = _plain_picture(_person(yaw=60.0), monkeypatch, texture)
    assert turned.visible[[36, 39, 41, 48, 31]].all()
    assert not turned.visible[45]  # the far eye's outer corner
    assert turned.visible[:17].mean() > 0.8  # the contour is what the camera sees


@pytest.mark.parametrize("yaw", [-40, -25, 0, 25, 40])
def test_jaw_points_follow_the_visible_contour(yaw, monkeypatch):
    texture = np.full((rendered_faces.TEXTURE_SIZE, rendered_faces.TEXTURE_SIZE, 3), 255, np.float32)
    face = _plain_picture(_person(yaw=yaw), monkeypatch, texture)
    head = face.image[..., 0] > 100
    far = range(12, 16) if yaw >= 0 else range(1, 5)
    for x, y in face.points_image[list(far)]:
        columns = np.flatnonzero(head[int(round(y))])
        edge = columns.max() if yaw >= 0 else columns.min()
        assert abs(edge - x) < 4.5, (x, y)


def test_points_are_inside_and_boxes_have_the_stated_size():
    faces = list(RenderedFaces(40, seed=9))
    points = np.stack([face.points_image for face in faces])
    inside = ((points >= 0) & (points <= 223)).all(axis=2)
    assert inside.mean() > 0.995
    sides = np.array([(face.box[2:] - face.box[:2]).max() for face in faces]) / 224
    assert sides.min() >= 0.4 - 1e-9
    assert sides.max() <= 0.65 + 1e-9


def test_poses_and_faces_vary():
    rng = np.random.default_rng(0)
    people = [random_person(rng) for _ in range(400)]
    yaw = np.array([person.pose.yaw for person in people])
    assert np.abs(yaw).max() > 50
    assert np.abs(yaw).max() <= 60
    assert np.median(np.abs(yaw)) < 20
    mouths = np.array([person.controls[66, 1] - person.controls[62, 1] for person in people])
    assert (mouths < 1.5).mean() > 0.15
    assert (mouths > 8).mean() > 0.15
    skin = np.array([person.look.skin.mean() for person in people])
    assert skin.min() < 70
    assert skin.max() > 200


def test_no_two_pictures_are_alike():
    pictures = [cv2.resize(face.image, (32, 32), interpolation=cv2.INTER_AREA) for face in RenderedFaces(20, seed=2)]
    flat = np.stack([picture.astype(float).ravel() for picture in pictures])
    correlation = np.corrcoef(flat)[~np.eye(len(flat), dtype=bool)]
    assert correlation.mean() < 0.4
    assert correlation.max() < 0.97


def test_command_writes_a_sheet(tmp_path):
    out = tmp_path / "sheet.png"
    assert rendered_faces.main(["--out", str(out), "--count", "3", "--size", "64", "--landmarks"]) == 0
    assert cv2.imread(str(out)).shape == (64, 640, 3)
    with pytest.raises(ValueError, match="--count: '0' is not a whole number from 1"):
        rendered_faces.main(["--out", str(out), "--count", "0"])
