"""Every reader of a file that somebody else may have written, with a small valid file of its kind."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import cv2
import h5py
import mxnet as mx
import numpy as np
import scipy.io
from mutations import Mutate, damage_arrays, damage_bytes, damage_header, damage_json, damage_text
from PIL import Image

from common.readers import read_json, read_json_lines, read_npy
from datasets import aflw, aflw21, cofw, helen_194, menpo_3d, pts_folder, w300_lp
from datasets.background import marked_boxes
from datasets.detection import fddb, landmark_boxes, voc, wider_face
from datasets.images import read_image, read_size
from datasets.name_lists import read_lines
from datasets.pts_files import read_pts, write_pts
from datasets.w300_vw import FrameReader
from engine.checkpoint import LAST, NUMBERS, PROGRESS, read_progress, write_arrays
from gluon_models.detector.weights import detector_name
from gluon_models.parameter_files import read_parameters
from gluon_models.weights import load_weights, read_info, shipped_weights
from inference.detectors import FileDetector
from inference.shape_model import ShapeFitter, fit_shapes, load_shape_model, save_shape_model
from report.compare import read_scored

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
PHOTO = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
SHAPE = np.stack([np.linspace(4, 28, 68), 12 + 8 * np.sin(np.arange(68))], axis=1)


class Reader(NamedTuple):
    """How one kind of file is read.

    Attributes:
        file: that is damaged, of those that `write` writes; the others stay valid.
        write: writes valid files into a folder.
        read: reads them.
        damage: what may be done to the file.
    """

    file: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    damage: tuple[Mutate, ...]


BINARY, TEXT, JSON = (
    (damage_bytes, damage_header),
    (damage_bytes, damage_text, damage_text),
    (damage_bytes, damage_json),
)
JSON = (damage_bytes, damage_text, damage_json, damage_json, damage_json)
ARRAYS = (damage_bytes, damage_arrays, damage_arrays)


def readers() -> Iterator[tuple[str, Reader]]:
    """All of them by name; sizes of published data sets are made small for this process."""
    aflw.SUBSETS = {"train": 2, "full": 3, "frontal": 2}
    cofw.SUBSETS = {"train": 3, "test": 3}
    yield from _photos()
    yield from _annotation()
    yield from _lists_of_boxes()
    yield from _own_files()


def _photos() -> Iterator[tuple[str, Reader]]:
    for suffix in ("jpg", "png", "bmp", "gif", "tif", "webp", "jp2", "ppm"):

        def write(folder: Path, name: str = f"a.{suffix}") -> None:
            Image.fromarray(PHOTO).save(folder / name)

        def read(folder: Path, name: str = f"a.{suffix}") -> None:
            read_size(folder / name)
            read_image(folder / name)

        yield f"photo.{suffix}", Reader(f"a.{suffix}", write, read, BINARY)
    yield "video", Reader("a.avi", _write_video, lambda folder: FrameReader().read(folder / "a.avi", 1), BINARY)


def _write_video(folder: Path) -> None:
    video = cv2.VideoWriter(str(folder / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 24))
    for shade in range(3):
        video.write(PHOTO + np.uint8(shade))
    video.release()


def _annotation() -> Iterator[tuple[str, Reader]]:
    def pts(folder: Path) -> None:
        Image.fromarray(PHOTO).save(folder / "a.png")
        write_pts(folder / "a.pts", SHAPE)

    yield "pts", Reader("a.pts", pts, lambda folder: read_pts(folder / "a.pts", 68), TEXT)
    yield "pts folder", Reader("a.pts", pts, lambda folder: pts_folder.load(folder)[0], TEXT)
    yield "pts boxes", Reader("a.pts", pts, lambda folder: landmark_boxes.load(folder)[0], TEXT)
    yield "helen194", Reader("a.txt", _write_helen, lambda folder: helen_194.read_landmarks(folder / "a.txt"), TEXT)
    fields = {"pts_2d": (68, 2)}
    yield "mat", Reader("a.mat", _write_mat, lambda folder: w300_lp.read_mat(folder / "a.mat", fields), BINARY)
    yield "aflw", Reader(aflw.LIST_NAME, _write_aflw, lambda folder: aflw.load(folder, "full"), BINARY)
    yield "aflw21", Reader("aflw.sqlite", _write_database, lambda folder: aflw21.load(folder, "all")[0], BINARY)
    yield "cofw", Reader("COFW_test_color.mat", _write_cofw, lambda folder: cofw.load(folder, "test")[0], BINARY)
    yield "t7", Reader("a.t7", _write_t7, lambda folder: menpo_3d.read_t7(folder / "a.t7"), BINARY)


def _write_helen(folder: Path) -> None:
    rows = "".join(f"{12.5 + k} , {30.25 + k}\n" for k in range(194))
    (folder / "a.txt").write_text(f"a_1\n{rows}")


def _write_mat(folder: Path) -> None:
    scipy.io.savemat(folder / "a.mat", {"pts_2d": SHAPE}, do_compression=True)


def _write_aflw(folder: Path) -> None:
    names = np.empty((5, 1), object)
    names[:, 0] = [f"0/{k}.jpg" for k in range(5)]
    (folder / "0").mkdir(exist_ok=True)
    for (name,) in names:
        Image.fromarray(PHOTO).save(folder / name)
    boxes, points = np.tile([1.0, 20.0, 2.0, 21.0], (5, 1)), np.tile(np.linspace(1, 20, 38), (5, 1))
    fields = {"bbox": boxes, "data": points, "mask_new": np.ones((5, 19)), "nameList": names, "ra": np.arange(1.0, 6)}
    scipy.io.savemat(folder / aflw.LIST_NAME, fields)


def _write_database(folder: Path) -> None:
    (folder / "0").mkdir(exist_ok=True)
    Image.fromarray(PHOTO).save(folder / "0" / "a.jpg")
    path = folder / "aflw.sqlite"
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA page_size = 512")
    for table in (
        *("Faces (face_id, file_id)", "FaceImages (file_id, filepath)", "FaceRect (face_id, x, y, w, h)"),
        *("FeatureCoords (face_id, feature_id, x, y)", "FeatureCoordTypes (feature_id, descr)"),
    ):
        database.execute(f"CREATE TABLE {table}")
    database.execute("INSERT INTO Faces VALUES (1, 'a')")
    database.execute("INSERT INTO FaceImages VALUES ('a', '0/a.jpg')")
    database.execute("INSERT INTO FaceRect VALUES (1, 1, 2, 20, 20)")
    for number, name in enumerate(aflw21.POINT_NAMES):
        database.execute("INSERT INTO FeatureCoordTypes VALUES (?, ?)", (number, name))
        database.execute("INSERT INTO FeatureCoords VALUES (1, ?, ?, ?)", (number, 3.0 + number, 4.5))
    database.commit()
    database.close()


def _write_cofw(folder: Path) -> None:
    with h5py.File(folder / "COFW_test_color.mat", "w") as file:
        cells = file.create_dataset("IsT", (1, 3), h5py.ref_dtype)
        for column in range(3):
            cells[0, column] = file.create_dataset(f"i{column}", data=PHOTO[..., 0].T.copy(), compression="gzip").ref
        file["phisT"] = np.tile(np.arange(2.0, 31), 3)[:, None] + np.zeros(3)
        file["bboxesT"] = np.full((4, 3), 9.0)


def _write_t7(folder: Path) -> None:
    def text(of: bytes) -> bytes:
        return struct.pack("<i", len(of)) + of

    tensor = struct.pack("<ii", 4, 1) + text(b"V 1") + text(b"torch.DoubleTensor")
    tensor += struct.pack("<iqqqqq", 2, 68, 2, 2, 1, 1)
    storage = struct.pack("<ii", 4, 2) + text(b"V 1") + text(b"torch.DoubleStorage")
    (folder / "a.t7").write_bytes(tensor + storage + struct.pack("<q", SHAPE.size) + SHAPE.tobytes())


def _lists_of_boxes() -> Iterator[tuple[str, Reader]]:
    yield "voc", Reader("annotations/a.xml", _write_voc, lambda folder: voc.load(folder)[0], TEXT)
    boxes = Reader("annotations/a.xml", _write_voc, lambda folder: marked_boxes(folder / "images" / "a.jpg"), TEXT)
    yield "background boxes", boxes
    listing = "wider_face_split/wider_face_val_bbx_gt.txt"
    yield "wider", Reader(listing, _write_wider, lambda folder: wider_face.load(folder, "val")[0], TEXT)
    listing = "FDDB-folds/FDDB-fold-01-ellipseList.txt"
    yield "fddb", Reader(listing, _write_fddb, lambda folder: fddb.load(folder)[0], TEXT)


def _photo_in(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PHOTO).save(folder / "a.jpg")


def _write_voc(folder: Path) -> None:
    _photo_in(folder / "images")
    (folder / "annotations").mkdir(exist_ok=True)
    box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(voc.EDGES, (2, 3, 20, 21)))
    faces = f"<object><name>face</name><bndbox>{box}</bndbox><difficult>0</difficult></object>" * 2
    text = f'<?xml version="1.0" encoding="utf-8"?><annotation><filename>a.jpg</filename>{faces}</annotation>'
    (folder / "annotations" / "a.xml").write_text(text)


def _write_wider(folder: Path) -> None:
    _photo_in(folder / "WIDER_val" / "images")
    (folder / "wider_face_split").mkdir(exist_ok=True)
    text = "a.jpg\n2\n2 3 10 12 0 0 0 0 0 0\n5 6 8 9 0 0 0 1 0 0\n"
    (folder / "wider_face_split" / "wider_face_val_bbx_gt.txt").write_text(text)


def _write_fddb(folder: Path) -> None:
    _photo_in(folder / "originalPics")
    (folder / "FDDB-folds").mkdir(exist_ok=True)
    (folder / "FDDB-folds" / "FDDB-fold-01-ellipseList.txt").write_text("a\n1\n9.5 7.25 1.2 14 12  1\n")


def _own_files() -> Iterator[tuple[str, Reader]]:
    """Files of this project, which may come from a stranger's hands all the same."""
    yield "boxes", Reader("a.json", _write_boxes, _find_boxes, JSON)
    yield "weights json", Reader("a.json", _write_weights, lambda folder: read_info(folder / "a.params"), JSON)
    yield "network", Reader("a.json", _write_network, lambda folder: load_weights(folder / "a.params"), JSON)
    yield "parameters", Reader("a.params", _write_weights, lambda folder: read_parameters(folder / "a.params"), BINARY)
    detector = Reader("a.json", _write_detector, lambda folder: detector_name(folder / "a.params"), JSON)
    yield "detector json", detector
    index = Reader("index.json", _write_index, lambda folder: shipped_weights("a", folder), JSON)
    yield "index", index
    yield "shape model", Reader("shape.npz", _write_shape, _fit_shape, ARRAYS)
    yield "checkpoint", Reader(LAST, _write_checkpoint, read_progress, ARRAYS)
    yield "metrics", Reader("metrics.json", _write_metrics, read_scored, JSON)
    yield "errors", Reader("errors.npy", _write_metrics, read_scored, BINARY)
    yield "npy", Reader("errors.npy", _write_metrics, lambda folder: read_npy(folder / "errors.npy"), BINARY)
    yield "json", Reader("metrics.json", _write_metrics, lambda folder: read_json(folder / "metrics.json"), JSON)
    lines = Reader("log.jsonl", _write_log, lambda folder: read_json_lines(folder / "log.jsonl"), TEXT)
    yield "log", lines
    names = Reader(
        "names.txt", _write_names, lambda folder: read_lines(folder / "names.txt", "give one name per line"), TEXT
    )
    yield "names", names


def _write_boxes(folder: Path) -> None:
    (folder / "a.json").write_text(
        json.dumps({"a.jpg": [[2, 3, 20, 21], [5, 6, 9.5, 12]], "b": [1, 2, 13, 14], "c": []})
    )


def _find_boxes(folder: Path) -> None:
    FileDetector(folder / "a.json")(PHOTO, "a.jpg")


def _write_weights(folder: Path) -> None:
    (folder / "a.json").write_bytes((WEIGHTS / "resnet18_slim.json").read_bytes())
    arrays = {"first.weight": mx.nd.ones((2, 3, 1, 1)), "second": mx.nd.ones((4,), dtype="float16")}
    mx.nd.save(str(folder / "a.params"), arrays)


def _write_network(folder: Path) -> None:
    for suffix in (".json", ".params"):
        (folder / f"a{suffix}").write_bytes((WEIGHTS / f"resnet18_slim{suffix}").read_bytes())


def _write_detector(folder: Path) -> None:
    (folder / "a.json").write_bytes((WEIGHTS / "faster_rcnn.json").read_bytes())
    (folder / "a.params").write_bytes(b"")


def _write_index(folder: Path) -> None:
    (folder / "a.params").write_bytes(b"weights")
    sha = hashlib.sha256(b"weights").hexdigest()
    (folder / "index.json").write_text(json.dumps({"a": {"file": "a.params", "sha256": sha, "model": "resnet18_slim"}}))


def _write_shape(folder: Path) -> None:
    shapes = np.random.default_rng(0).normal(size=(9, 5, 2)) + 4 * np.arange(10).reshape(5, 2) ** 0.5
    save_shape_model(fit_shapes(shapes, components=2), folder / "shape.npz")


def _fit_shape(folder: Path) -> None:
    heatmaps = np.zeros((5, 12, 12), np.float32)
    for number, (row, column) in enumerate([(2, 3), (4, 8), (7, 5), (9, 9), (5, 2)]):
        heatmaps[number, row, column] = 1.0
    model = load_shape_model(folder / "shape.npz")
    if model.num_landmarks == 5:
        points = ShapeFitter(model)(heatmaps).points
        assert np.isfinite(points).all(), "points that are no numbers"


def _write_checkpoint(folder: Path) -> None:
    progress = {
        "epoch": 2,
        "best": 0.05,
        "best_epoch": 1,
        "average_updates": 0,
        "arguments": {"lr": 0.1},
        "history": [],
    }
    numbers = {"numbers": {"num_update": 3}, "update_counts": {"0": {"0": 3}}}
    write_arrays(folder, {"weights/0": np.ones((2, 3))}, {PROGRESS: progress, NUMBERS: numbers})


def _write_metrics(folder: Path) -> None:
    metrics = {"names": ["a", "b"], "normalizer": "outer_eye", "model": "ffld_resnet18", "weights": "a.params"}
    (folder / "metrics.json").write_text(json.dumps({**metrics, "dataset": "rendered", "seed": 0}))
    np.save(folder / "errors.npy", np.array([0.03, 0.05]))


def _write_log(folder: Path) -> None:
    (folder / "log.jsonl").write_text("".join(json.dumps({"epoch": k, "loss": 0.5, "nme": 0.1}) + "\n" for k in (1, 2)))


def _write_names(folder: Path) -> None:
    (folder / "names.txt").write_text("a_1.jpg\nb.png\n\nfolder/c\n")
