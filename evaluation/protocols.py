"""What is measured on which faces, and in words what in it differs from the papers that publish on them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Protocol:
    """How one subset is scored.

    Attributes:
        dataset: Name of the data set, such as "300w".
        subset: Name of its part, such as "common".
        normalizer: The primary normalizer: errors.npy is in it. A name of evaluation.metrics.NORMALIZERS, or
            "face_size", the size that the data set itself gives each face.
        failure_threshold: A face fails above this error, a fraction in the primary normalizer.
        auc_threshold: The CED's area is taken up to this error, a fraction in the primary normalizer.
        differs: What sets these faces apart from those the papers report on, or "".
        part_of: A published subset that this one is a part of, or "": its figures are shown, but not subtracted.
        true_boxes: What the faces' true boxes are: "truth" for the tight ones of their landmarks, or "listed".
        has_profiles: Whether faces are turned so far that lengths between the eyes mean nothing; none is shown then.
    """

    dataset: str
    subset: str
    normalizer: str
    failure_threshold: float
    auc_threshold: float
    differs: str = ""
    part_of: str = ""
    true_boxes: str = "truth"
    has_profiles: bool = False


# Papers differ among themselves here, and seldom say all of it.
_BOX_WORDS = {
    "truth": "the tight box of their true landmarks, which helps: many papers start from the boxes of a detector",
    "converted": "the tight box of their true landmarks, brought to that of the network's own",
    "listed": "the boxes that come with the data set",
    "haar": "the boxes of OpenCV's bundled detector, brought to the tight box of landmarks",
    "faster_rcnn": "the boxes of Faster R-CNN, brought to the tight box of landmarks",
    "centernet_slim": "the boxes of the small detector, brought to the tight box of landmarks",
    "file": "the boxes of a file",
}


def box_text(rule: str, margin: float) -> str:
    """What the faces were cropped by, as a clause.

    Args:
        rule: "truth", "converted", "listed", "file", or the name of a detector.
        margin: The crop is a square of side (1 + margin) times the box's longer side.
    """
    return f"faces are cropped with a margin of {100 * margin:.0f} % about {_BOX_WORDS[rule]}"


def get_protocol(dataset: str, subset: str) -> Protocol:
    """The protocol of a subset; ValueError, which lists the known subsets, if there is none."""
    if (dataset, subset) not in PROTOCOLS:
        known = ", ".join(f"{name} {part}" for name, part in PROTOCOLS)
        raise ValueError(f"no protocol for {dataset} {subset}; known: {known}")
    return PROTOCOLS[dataset, subset]


_TRAINING = "these are the training faces: the figures say nothing about new ones"
_VALIDATION = "these are the training faces that training leaves out, to choose by: no paper reports on them"
_ALL_CATEGORIES = "these are the frames of all three categories, which papers report one by one"
_NO_PARTS = "no training and test parts are published for AFLW's 21 points"
_PRE_TRAINING = "these are faces to train on; turned copies of 300-W's test photos are among them"


def _ibug_300w(subset: str, differs: str = "", part_of: str = "") -> Protocol:
    return Protocol("300w", subset, "outer_eye", 0.08, 0.08, differs, part_of)


def _aflw2000(subset: str) -> Protocol:
    return Protocol("aflw2000_3d", subset, "box_geometric", 0.08, 0.08, has_profiles=True)


def _aflw(dataset: str, subset: str, differs: str = "") -> Protocol:
    return Protocol(dataset, subset, "face_size", 0.08, 0.08, differs, true_boxes="listed", has_profiles=True)


def _cofw(subset: str, differs: str = "") -> Protocol:
    return Protocol("cofw", subset, "pupil", 0.10, 0.10, differs)


def _3d(dataset: str, subset: str = "all", differs: str = "") -> Protocol:
    return Protocol(dataset, subset, "box_geometric", 0.08, 0.07, differs, has_profiles=True)  # [H21]


def _wflw(subset: str, differs: str = "") -> Protocol:
    return Protocol("wflw", subset, "outer_eye", 0.10, 0.10, differs)


def _300vw(subset: str, differs: str = "") -> Protocol:
    return Protocol("300vw", subset, "outer_eye", 0.08, 0.08, differs)


PROTOCOLS: dict[tuple[str, str], Protocol] = {
    (each.dataset, each.subset): each
    for each in (
        _ibug_300w("common"),
        _ibug_300w("challenging"),
        _ibug_300w("full"),
        _ibug_300w("private"),
        _ibug_300w("indoor"),
        _ibug_300w("outdoor"),
        _ibug_300w("helen_test", "these are the HELEN faces of the common subset, without those of LFPW", "common"),
        _ibug_300w("lfpw_test", "these are the LFPW faces of the common subset, without those of HELEN", "common"),
        _ibug_300w("train", _TRAINING),
        Protocol("300w_lp", "all", "box_geometric", 0.08, 0.08, _PRE_TRAINING, has_profiles=True),
        Protocol("300w_lp", "unmirrored", "box_geometric", 0.08, 0.08, _PRE_TRAINING, has_profiles=True),
        _3d("300w_lp_3d", differs=_PRE_TRAINING),
        _3d("300w_lp_3d", "unmirrored", _PRE_TRAINING),
        _3d("300w_3d"),
        _3d("menpo_3d"),
        _3d("300vw_3d", "category_a"),
        _3d("300vw_3d", "category_b"),
        _3d("300vw_3d", "category_c"),
        _3d("300vw_3d", "test", _ALL_CATEGORIES),
        _aflw2000("all"),
        _aflw2000("0-30"),
        _aflw2000("30-60"),
        _aflw2000("60-90"),
        _aflw("aflw", "full"),
        _aflw("aflw", "frontal"),
        _aflw("aflw", "train", _TRAINING),
        _aflw("aflw21", "validation", f"{_NO_PARTS}: these are the photos that training on it leaves out"),
        _aflw("aflw21", "train", f"{_NO_PARTS}: these are the photos that training on it takes"),
        _aflw("aflw21", "all", f"{_NO_PARTS}: these are all, those that a network was trained on among them"),
        _cofw("test"),
        _cofw("train", _TRAINING),
        _300vw("category_1"),
        _300vw("category_2"),
        _300vw("category_3"),
        _300vw("test", _ALL_CATEGORIES),
        _300vw("train", _TRAINING),
        _wflw("test"),
        *(_wflw(subset) for subset in ("pose", "expression", "illumination", "makeup", "occlusion", "blur")),
        _wflw("train", _TRAINING),
        Protocol("menpo", "frontal", "box_mean", 0.08, 0.08),
        Protocol("helen194", "test", "outer_eye", 0.08, 0.08),
        Protocol("helen194", "train", "outer_eye", 0.08, 0.08, _TRAINING),
        Protocol("pts", "all", "outer_eye", 0.08, 0.08, "these are faces of your own, on which no paper reports"),
        Protocol("rendered", "test", "outer_eye", 0.08, 0.08, "these are rendered faces, on which no paper reports"),
    )
}
_TRAINED_ON = {name: "train" for name in ("300w", "aflw", "cofw", "300vw", "wflw", "helen194")}
_TRAINED_ON.update({name: "all" for name in ("300w_lp", "300w_lp_3d", "pts")})
PROTOCOLS.update(
    {
        (name, "validation"): replace(PROTOCOLS[name, part], subset="validation", differs=_VALIDATION)
        for name, part in _TRAINED_ON.items()
    }
)
