"""What predict.py adds to photos: numbers, crops, a table, confidence, least scores and sizes, progress in a log."""

import csv
import json
import shutil

import numpy as np
import pytest

import predict
from common import cli
from datasets.geometry import transform_points
from datasets.images import read_image, write_image
from datasets.markups import AFLW_19, COFW_29, IBUG_68
from datasets.render.faces import RenderedFaces
from inference.aligned_crops import TEMPLATES, aligned_crop, alignment, five_places
from inference.confidence import point_confidence
from inference.detectors import BoxCorrection, CorrectedDetector, Detection, get_detector
from inference.drawing import draw_faces
from inference.landmark_detector import LandmarkDetector, LocatedFace
from inference.media.video_files import plain
from inference.tracking import TrackedFace

ARCFACE = TEMPLATES["arcface_112"]


def test_an_alignment_undoes_a_similarity():
    angle, scale = np.deg2rad(25), 2.5
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = ARCFACE.places @ linear.T + (40, -7)
    matrix = alignment(places, ARCFACE)
    np.testing.assert_allclose(transform_points(places, matrix), ARCFACE.places, atol=1e-9)
    np.testing.assert_allclose(matrix[:, :2] @ linear, np.eye(2), atol=1e-9)


def test_an_alignment_is_that_of_least_squares():
    places = ARCFACE.places * 3 + np.random.default_rng(0).normal(0, 8, (5, 2))
    # The four numbers of a similarity, x' = a x - b y + c and y' = b x + a y + d, from the normal equations.
    x, y, one, zero = places[:, 0], places[:, 1], np.ones(5), np.zeros(5)
    system = np.vstack([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    a, b, c, d = np.linalg.lstsq(system, ARCFACE.places.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(alignment(places, ARCFACE), [[a, -b, c], [b, a, d]], atol=1e-9)


def test_the_crop_of_a_rendered_face_has_its_eyes_and_mouth_in_place():
    face = RenderedFaces(1, 3, 300)[0]
    crop, matrix = aligned_crop(face.image, face.points_image, IBUG_68, ARCFACE)
    assert crop.shape == (112, 112, 3)
    placed = transform_points(five_places(face.points_image, IBUG_68), matrix)
    assert np.linalg.norm(placed - ARCFACE.places, axis=1).max() < 12
    assert placed[0, 0] < placed[1, 0]  # the subject's right eye is on the left of the crop


def test_places_of_other_markups():
    points = np.random.default_rng(0).random((29, 2))
    np.testing.assert_allclose(five_places(points, COFW_29)[2], points[COFW_29.names.index("nose_tip")])
    assert five_places(np.zeros((19, 2)), AFLW_19).shape == (5, 2)


BOX = np.array([1.0, 2, 30, 40])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Two rendered faces in one photo, and one alone, through predict.py."""
    folder = tmp_path_factory.mktemp("photos")
    one, other = (RenderedFaces(2, 3, 240)[k].image for k in range(2))
    write_image(folder / "two.png", np.hstack([one, other]))
    write_image(folder / "one.png", one)
    boxes = {"two.png": [[50, 70, 190, 205], [290, 70, 430, 205]], "one.png": [[50, 70, 190, 205]]}
    (folder / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    argv = [str(folder / "two.png"), str(folder / "one.png"), "--boxes", str(folder / "boxes.json"), "--gpus", "none"]
    assert predict.main([*argv, "--out", str(folder / "out"), "--csv", "--crops", "arcface_112"]) == 0
    return folder, argv


def content(folder, stem):
    return json.loads((folder / "out" / f"{stem}.json").read_text(encoding="utf-8"))


def test_crops_and_their_matrices(found):
    folder, _ = found
    photo = read_image(folder / "two.png")
    for number, face in enumerate(content(folder, "two")["faces"], 1):
        assert face["crop"]["file"] == f"two_{number}_crop.png"
        crop, matrix = aligned_crop(photo, np.array(face["points"]), IBUG_68, ARCFACE)
        np.testing.assert_allclose(face["crop"]["matrix"], matrix, atol=3e-3)  # of points to 0.001
        written = read_image(folder / "out" / face["crop"]["file"])
        assert np.abs(written.astype(int) - crop).mean() < 1


def test_the_table_has_a_row_for_each_face(found):
    folder, _ = found
    with open(folder / "out" / "faces.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"].rsplit("/")[-1], row["face"]) for row in rows] == [
        ("two.png", "1"),
        ("two.png", "2"),
        ("one.png", "1"),
    ]
    assert {row["frame"] for row in rows} == {""}
    points = content(folder, "two")["faces"][1]["points"]
    assert [[float(rows[1][f"x{k}"]), float(rows[1][f"y{k}"])] for k in range(68)] == points


def test_the_table_has_videos_too_and_what_resume_skips(found, tmp_path):
    folder, argv = found
    out = tmp_path / "out"
    assert predict.main([*argv, "--out", str(out)]) == 0
    followed = plain(TrackedFace(BOX, BOX.reshape(2, 2), 0.5, 7))
    lines = [{"frame": k, "seconds": k / 25, "faces": [followed] * k} for k in (0, 1)]
    (out / "clip.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = json.loads((out / "two.json").read_text())
    about = {**settings, "video": "clip.mp4", "lines": "clip.jsonl", "tracking": True}
    (out / "clip.json").write_text(json.dumps(about))
    (folder / "clip.mp4").touch()
    assert predict.main([*argv[:2], str(folder / "clip.mp4"), *argv[2:], "--out", str(out), "--csv", "--resume"]) == 0
    with open(out / "faces.csv", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [row[:5] for row in rows[2:]] == [
        [str(folder / "two.png"), "", "", "2", "1.0"],
        [str(folder / "one.png"), "", "", "1", "1.0"],
        ["clip.mp4", "1", "0.04", "7", "0.5"],
    ]
    assert rows[-1][5:] == ["1.0", "2.0", "30.0", "40.0", "1.0", "2.0", "30.0", "40.0"]


def test_resume_takes_no_results_of_other_settings(found, tmp_path):
    folder, argv = found
    out = str(tmp_path / "out")
    assert predict.main([*argv[1:], "--out", out]) == 0
    with pytest.raises(ValueError, match=r"one\.json was made with crops None, not arcface_112: repeat its options"):
        predict.main([*argv[1:], "--out", out, "--resume", "--crops", "arcface_112"])
    with pytest.raises(ValueError, match=r"one\.json was made with model ffld_resnet18, not resnet18_slim"):
        predict.main([*argv[1:], "--out", out, "--resume", "--model", "resnet18_slim"])


def test_resume_takes_no_results_of_another_photo_of_that_name(found, tmp_path, monkeypatch):
    folder, argv = found
    for day, name in (("day1", "one"), ("day2", "two")):
        (tmp_path / day).mkdir()
        shutil.copy(folder / f"{name}.png", tmp_path / day / "one.png")
    monkeypatch.chdir(tmp_path)
    assert predict.main(["day1/one.png", *argv[2:], "--out", "out"]) == 0
    with pytest.raises(ValueError, match=r"one\.json is of day1/one\.png, not of day2/one\.png: name another --out"):
        predict.main(["day2/one.png", *argv[2:], "--out", "out", "--resume"])
    monkeypatch.chdir("day1")
    for same in ("one.png", "../day1/one.png", str(tmp_path / "day1" / "one.png")):
        assert predict.main([same, *argv[2:], "--out", "../out", "--resume"]) == 0


def test_no_photos_copy_takes_the_name_of_a_crop(found, tmp_path):
    folder, argv = found
    for name in ("a.png", "a_1_crop.png"):
        shutil.copy(folder / "one.png", tmp_path / name)
    out, options = tmp_path / "out", ["--detector", "whole", "--gpus", "none"]
    one, crop = (str(tmp_path / name) for name in ("a.png", "a_1_crop.png"))
    with pytest.raises(ValueError, match=r"a crop of .*a\.png and .*a_1_crop\.png would both become a_1_crop\.png"):
        predict.main([one, crop, "--out", str(out), *options, "--crops", "arcface_112"])
    for again in ([], ["--overwrite"]):  # without crops both are done
        assert predict.main([one, crop, "--out", str(out), *options, *again]) == 0
    with pytest.raises(ValueError, match=r"a_1_crop\.png is in the way and not of an earlier run"):
        predict.main([one, "--out", str(out), *options, "--overwrite", "--crops", "arcface_112"])
    crops = str(tmp_path / "crops")
    assert predict.main([one, "--out", crops, *options, "--crops", "arcface_112"]) == 0
    with pytest.raises(ValueError, match=r"a_1_crop\.png is already there"):
        predict.main([crop, "--out", crops, *options])


def test_results_are_replaced_only_on_request(found, tmp_path):
    folder, argv = found
    with pytest.raises(ValueError, match="--overwrite"):
        predict.main([*argv, "--out", str(folder / "out"), "--csv"])
    (tmp_path / "faces.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"faces\.csv is already there"):
        predict.main([*argv, "--out", str(tmp_path), "--csv"])


def test_shifted_crops_say_how_sure_a_point_is(found):
    folder, _ = found
    detector = LandmarkDetector.from_pretrained("ffld_resnet18", "whole")
    photo = read_image(folder / "one.png")
    (face,) = content(folder, "one")["faces"]
    kind, values = point_confidence(detector.predictor, photo, [np.array(face["points"])])
    assert kind == "disagreement"
    # The points in the JSON are rounded, so the crop is turned and shifted by a hair.
    np.testing.assert_allclose(face["disagreement"], values[0], atol=5e-4)
    assert face["mean_disagreement"] == pytest.approx(values.mean(), abs=1e-3)
    noise = np.random.default_rng(0).integers(0, 255, photo.shape, dtype=np.uint8)
    assert point_confidence(detector.predictor, noise, [np.array(face["points"])]).values.mean() > 2 * values.mean()


def test_heatmaps_say_it_by_their_peaks():
    detector = LandmarkDetector.from_pretrained("lgcn_64", "whole")
    face = RenderedFaces(1, 3, 240)[0]
    kind, values = point_confidence(detector.predictor, face.image, [face.points_image])
    assert (kind, values.shape) == ("peak_height", (1, 68))
    assert 0.2 < values.mean() <= 1


def test_least_scores_and_sizes():
    def finds(image, name=""):
        return [Detection(np.array([0.0, 0, size, size]), score) for size, score in ((20, 0.9), (40, 0.5), (60, 0.8))]

    detector = CorrectedDetector(finds, BoxCorrection(0, 0, 1, 1), min_score=0.6, min_face=30)
    assert [(each.box[2], each.score) for each in detector(None)] == [(60, 0.8)]
    with pytest.raises(ValueError, match="finds no faces"):
        get_detector("whole", min_face=30)
    with pytest.raises(ValueError, match="0 to 1"):
        get_detector("haar", min_score=2)


def test_scores_of_the_cascade_are_shares():
    (face,) = get_detector("haar")(RenderedFaces(1, 3, 400)[0].image)
    assert 0 < face.score < 1


def test_pictures_have_the_numbers_of_the_files_and_of_the_landmarks(found):
    folder, _ = found
    photo, drawn = read_image(folder / "two.png"), read_image(folder / "out" / "two.png")
    faces = [
        LocatedFace(np.array(face["box"]), np.array(face["points"]), face["score"])
        for face in content(folder, "two")["faces"]
    ]
    for x in (50, 290):  # the label is inside the box's upper left corner, where no point is
        corner = slice(70, 90), slice(x, x + 16)
        np.testing.assert_array_equal(drawn[corner], draw_faces(photo, faces, IBUG_68, ["1", "2"])[corner])
        assert (drawn[corner] != draw_faces(photo, faces, IBUG_68, ["2", "1"])[corner]).sum() > 20
    assert (draw_faces(photo, faces, IBUG_68, ["1", "2"], indices=True) != drawn).any()


def test_the_box_of_a_small_face_can_be_seen():
    gray = np.full((60, 60, 3), 128, np.uint8)
    face = LocatedFace(np.array([15.0, 15, 40, 40]), np.full((68, 2), 27.0), 1.0)
    top = draw_faces(gray, [face], IBUG_68)[15, 18:38].astype(int)
    assert np.abs(top - 128).max(axis=1).min() > 60


def test_the_last_line_and_a_detector_given_as_a_network(found, capsys, tmp_path):
    _, argv = found
    predict.main([*argv, "--out", str(tmp_path)])
    assert capsys.readouterr().out == f"3 faces in 2 photos: {tmp_path}\n"
    with pytest.raises(ValueError, match="--detector faster_rcnn"):
        predict.main([argv[0], "--model", "faster_rcnn", "--out", str(tmp_path)])


def test_progress_in_a_log_is_a_line_now_and_then(capsys, monkeypatch):
    seconds = iter([0, 10, 31, 31, 40, 70, 70])
    monkeypatch.setattr(cli, "monotonic", lambda: next(seconds))
    assert list(cli.progress("abcd", "predicting", unit="photo")) == list("abcd")
    assert capsys.readouterr().err == "predicting: photo 1 of 4\npredicting: photo 3 of 4\n"


def test_a_wrong_choice_is_one_line():
    with pytest.raises(ValueError, match=r"'Haar'.*--help") as error:
        predict.main(["photo.jpg", "--out", "found", "--detector", "Haar"])
    assert "\n" not in str(error.value)
