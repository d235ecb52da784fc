"""Pose-based data balancing on shapes whose pose is known: heads of points in space, turned and seen from afar."""

import numpy as np
import pytest

from datasets.markups import AFLW_19, AFLW_21, IBUG_68
from datasets.pose_balance import aligned, balanced_indices, poses
from datasets.render.mesh import CONTROLS

HEAD_68 = CONTROLS.space[:68]
EARS = np.array([(-78.0, 15, -95), (78, 15, -95)])
HEAD_21 = np.stack(
    [
        *(HEAD_68[k] for k in (17, 19, 21, 22, 24, 26)),
        *(HEAD_68[36], HEAD_68[36:42].mean(0), HEAD_68[39], HEAD_68[42], HEAD_68[42:48].mean(0), HEAD_68[45]),
        *(EARS[0], HEAD_68[31], HEAD_68[30], HEAD_68[35], EARS[1]),
        *(HEAD_68[48], HEAD_68[60:68].mean(0), HEAD_68[54], HEAD_68[8]),
    ]
)
EARS_21 = [12, 16]
FAR_SIDE = [np.array([name.startswith(side) for name in AFLW_21.names]) for side in ("right_", "left_")]


def seen(head, yaw, pitch=0.0, roll=0.0, scale=1.0, shift=(0.0, 0.0)):
    """A head (K, 3) turned by angles in degrees, in pixels (K, 2); a positive yaw turns the nose to the right."""
    yaw, pitch, roll = np.radians((yaw, pitch, roll))
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    tilt = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return (head @ (nod @ turn).T)[:, :2] @ tilt.T * scale + shift


def crowd(head, count=400, spread=60.0, seed=0):
    """Faces (count, K, 2) of different people and poses, and their yaws in degrees."""
    rng = np.random.default_rng(seed)
    yaws = np.clip(rng.normal(0, spread, count), -90, 90)
    faces = [
        seen(
            head * rng.normal(1, 0.05, 3) + rng.normal(0, 1.5, head.shape),
            yaw,
            *rng.normal(0, 10, 2),
            rng.uniform(0.3, 3),
            rng.uniform(0, 500, 2),
        )
        for yaw in yaws
    ]
    return np.stack(faces), yaws


def rank_correlation(first, second):
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return np.corrcoef(*ranks)[0, 1]


@pytest.mark.parametrize("head", [HEAD_68, HEAD_21, np.delete(HEAD_21, EARS_21, axis=0)], ids=["68", "21", "19"])
@pytest.mark.parametrize("spread", [15, 60])
def test_poses_go_with_the_yaw(head, spread):
    points, yaws = crowd(head, spread=spread)
    assert abs(rank_correlation(poses(points), yaws)) > 0.95


def test_on_heads_turned_as_far_as_aflws_it_is_not_the_first_component_that_is_taken():
    """What the method's authors found on AFLW: of its 19 points the second component is the yaw's."""
    points, yaws = crowd(np.delete(HEAD_21, EARS_21, axis=0))
    shapes = points - points.mean(axis=1, keepdims=True)
    shapes = shapes / np.sqrt((shapes**2).sum(axis=2).mean(axis=1))[:, None, None]
    shapes = aligned(shapes, list(AFLW_19.flip_order)).reshape(len(points), -1)
    left, values, _ = np.linalg.svd(shapes - shapes.mean(axis=0), full_matrices=False)
    first, second = (abs(rank_correlation(left[:, k], yaws)) for k in (0, 1))
    assert values[0] > values[1]
    assert first < 0.5 < 0.9 < second


def test_by_hand():
    """A symmetric face is at 0, its turned copies lie opposite each other, and more so the more they are turned."""
    yaws = [0, 20, -20, 40, -40, 60, -60]
    found = poses(np.stack([seen(HEAD_68, yaw) for yaw in yaws]))
    assert abs(found[0]) < 1e-9
    np.testing.assert_allclose(found[2::2], -found[1::2], atol=1e-9)
    assert (np.diff(np.abs(found[1::2])) > 0.1).all()


def test_place_size_and_roll_do_not_matter():
    plain, moved = crowd(HEAD_68, 60)[0], crowd(HEAD_68, 60)[0]
    rng = np.random.default_rng(5)
    for face in moved:
        angle = rng.uniform(-1, 1)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        face[:] = face @ turn * rng.uniform(0.1, 9) + rng.uniform(-99, 99, 2)
    found, expected = poses(moved), poses(plain)
    np.testing.assert_allclose(found * np.sign(found @ expected), expected, atol=1e-3)


def test_the_pose_of_a_mirrored_face_is_the_opposite_one():
    points, _ = crowd(HEAD_68, 60)
    mirrored = points[:, list(IBUG_68.flip_order)] * (-1, 1) + (640, 0)
    found = poses(np.concatenate([points, mirrored]))
    np.testing.assert_allclose(found[:60], -found[60:], atol=1e-9)


def test_landmarks_that_are_hidden_on_turned_heads():
    """Of a head turned by more than 40 degrees one side is not annotated; of frontal ones the ears are not."""
    points, yaws = crowd(HEAD_21, spread=35)
    for face, yaw in zip(points, yaws):
        if abs(yaw) > 40:
            face[FAR_SIDE[int(yaw > 0)]] = np.nan
        if abs(yaw) < 25:
            face[EARS_21] = np.nan
    assert np.isnan(points).mean() > 0.1
    found = poses(points)
    assert abs(rank_correlation(found, yaws)) > 0.95
    assert rank_correlation(np.abs(found), np.abs(yaws)) > 0.9


def test_a_face_with_too_few_landmarks_has_no_pose_and_is_there_once():
    points, _ = crowd(HEAD_68, 50)
    points[7, 2:], points[9] = np.nan, np.nan
    assert np.flatnonzero(np.isnan(poses(points))).tolist() == [7, 9]
    chosen = balanced_indices(points).tolist()
    assert chosen.count(7) == chosen.count(9) == 1
    assert set(chosen) == set(range(50))
    np.testing.assert_array_equal(balanced_indices(np.full((3, 68, 2), np.nan)), [0, 1, 2])


def test_balanced_by_hand():
    """Ten faces look ahead, three half to a side, one far to the other: each of the three bins gets ten."""
    yaws = [0.0] * 10 + [25, -25, 25] + [-50]
    points = np.stack([seen(HEAD_68, yaw) for yaw in yaws])
    turned = np.abs(poses(points))
    assert turned[10] / turned[13] == pytest.approx(0.5, abs=0.12)  # in the second of three bins
    chosen = balanced_indices(points, bins=3, seed=4)
    times = np.bincount(chosen, minlength=14)
    assert times[:10].tolist() == [1] * 10
    assert sorted(times[10:13].tolist()) == [3, 3, 4]
    assert times[13] == 10
    assert (np.diff(chosen) >= 0).all()


def test_every_bin_that_has_faces_gets_as_many_as_the_fullest():
    points, _ = crowd(HEAD_68, 300, spread=25)
    turned = np.abs(poses(points))
    edges = np.linspace(0, turned.max(), 10)
    before = np.histogram(turned, edges)[0]
    after = np.histogram(turned[balanced_indices(points)], edges)[0]
    assert before.max() > 3 * before.min()
    np.testing.assert_array_equal(after, np.where(before > 0, before.max(), 0))
    assert set(balanced_indices(points).tolist()) == set(range(300))


def test_the_seed_alone_decides():
    points, _ = crowd(HEAD_68, 100)
    np.testing.assert_array_equal(balanced_indices(points, seed=3), balanced_indices(points, seed=3))
    assert (balanced_indices(points, seed=3) != balanced_indices(points, seed=4)).any()


def test_faces_all_alike_stay_as_they_are():
    points = np.stack([seen(HEAD_68, 0)] * 5)
    np.testing.assert_array_equal(balanced_indices(points), range(5))


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(ValueError, match="0 bins of poses are none; take 1 or more"):
        balanced_indices(np.zeros((2, 68, 2)), bins=0)
    with pytest.raises(ValueError, match="points_7 does not say which points trade places"):
        balanced_indices(np.zeros((2, 7, 2)))
