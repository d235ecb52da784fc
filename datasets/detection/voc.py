"""Photos with face boxes in PASCAL VOC's XML, one file a photo."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from common.files import write_text
from common.readers import read_bytes
from datasets.detection.boxed_photos import BoxedPhotos, check_boxes
from datasets.images import PathLike
from datasets.inventory import files, listed_path

_LARGEST = 2**24  # bytes: some 50,000 boxes
EDGES = ("xmin", "ymin", "xmax", "ymax")


def load(root: PathLike, allow_missing: bool = False) -> BoxedPhotos:
    """All photos of a folder of annotations, sorted by name; whatever an object is called, it is a face.

    Args:
        root: the folder that holds `annotations` and `images`, or `Annotations` and `JPEGImages`.
        allow_missing: leave out photos that are not there.

    Raises:
        FileNotFoundError: a folder or a photo is not there.
        ValueError: an annotation is damaged.
    """
    home = Path(root)
    annotations, images = _folder(home, "annotations", "Annotations"), _folder(home, "images", "JPEGImages")
    described = files(annotations, (".xml",))
    if not described:
        raise FileNotFoundError(f"{annotations}: holds no .xml; put one for each photo there")
    read = [read_voc(path) for path in described]
    paths = [listed_path(images, name, source) for source, (name, _, _) in zip(described, read)]
    missing = [path for path in paths if not path.is_file()]
    if missing and (not allow_missing or len(missing) == len(paths)):
        raise FileNotFoundError(f"{missing[0]} and {len(missing) - 1} more photos are not there: copy them again")
    photos = BoxedPhotos(
        tuple(path.stem for path in paths),
        tuple(paths),
        tuple(boxes for _, boxes, _ in read),
        tuple(difficult for _, _, difficult in read),
    )
    return photos.subset([k for k, path in enumerate(paths) if path not in set(missing)])


def read_voc(path: PathLike) -> tuple[str, np.ndarray, np.ndarray]:
    """The photo's file name, its boxes (n, 4) in pixels counted from 0, and which of them are marked difficult (n,).

    The file's pixels count from 1, as PASCAL's do.

    Raises:
        ValueError: it is no such file.
    """
    try:
        parser = ElementTree.XMLParser(target=_WithoutEntities())
        tree = ElementTree.fromstring(read_bytes(path, largest=_LARGEST), parser)
        objects = tree.findall("object")
        rows = [[float(each.findtext(f"bndbox/{edge}", "")) for edge in EDGES] for each in objects]
        difficult = [int(each.findtext("difficult", "0")) != 0 for each in objects]
        name = (tree.findtext("filename") or "").strip()
        boxes = check_boxes(np.array(rows, np.float64).reshape(-1, 4) - 1)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: not a readable VOC annotation ({error}); restore it") from error
    if not name:
        raise ValueError(f"{path}: names no photo; restore it from the original data")
    return name, boxes, np.array(difficult, bool)


def write_voc(path: PathLike, name: str, boxes: np.ndarray, difficult: np.ndarray) -> None:
    """Writes what `read_voc` reads: a photo's file name, its boxes (n, 4) and which of them are difficult (n,)."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    for box, is_difficult in zip(boxes, difficult):
        each = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(each, "name").text = "face"
        ElementTree.SubElement(each, "difficult").text = str(int(is_difficult))
        place = ElementTree.SubElement(each, "bndbox")
        for edge, value in zip(EDGES, box):
            ElementTree.SubElement(place, edge).text = f"{value + 1:.2f}"
    write_text(path, ElementTree.tostring(root, encoding="unicode") + "\n")


class _WithoutEntities(ElementTree.TreeBuilder):
    """Refuses what a file defines for itself, which may grow without end or stand for another file."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        """Called at <!DOCTYPE, before anything that it defines is used."""
        raise ValueError("it has a document type")


def _folder(home: Path, *names: str) -> Path:
    for name in names:
        if (home / name).is_dir():
            return home / name
    raise FileNotFoundError(f"{home}: has no folder '{names[0]}'; name the one that holds it")
