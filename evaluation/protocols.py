"""What is measured on which faces, and in words what in it differs from the papers that publish on them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """How one subset is scored.

    Attributes:
        dataset: Name of the data set, such as "300w".
        subset: Name of its part, such as "common".
        normalizer: The normaliser of record: errors.npy is in it. A name of evaluation.metrics.NORMALIZERS.
        failure_threshold: A face fails above this error, a fraction in the normaliser of record.
        auc_threshold: The CED's area is taken up to this error, a fraction in the normaliser of record.
        differs: What sets these faces apart from those the papers report on, or "".
        part_of: A published subset that this one is a part of, or "": its figures are shown, but not subtracted.
    """

    dataset: str
    subset: str
    normalizer: str
    failure_threshold: float
    auc_threshold: float
    differs: str = ""
    part_of: str = ""


# Papers differ among themselves here, and seldom say all of it.
_BOX_WORDS = {
    "truth": "the tight box of their true landmarks, which helps: many papers start from the boxes of a detector",
    "detector": "the boxes of OpenCV's bundled detector, brought to the tight box of landmarks",
    "file": "the boxes of a file",
}


def box_words(rule: str, margin: float) -> str:
    """What the faces were cropped by, as a clause.

    Args:
        rule: "truth", "detector" or "file".
        margin: The crop is a square of side (1 + margin) times the box's longer side.
    """
    return f"faces are cropped with a margin of {100 * margin:.0f} % about {_BOX_WORDS[rule]}"


def get_protocol(dataset: str, subset: str) -> Protocol:
    """The protocol of a subset.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    if (dataset, subset) not in PROTOCOLS:
        known = ", ".join(f"{name} {part}" for name, part in PROTOCOLS)
        raise ValueError(f"no protocol for {dataset} {subset}; known: {known}")
    return PROTOCOLS[dataset, subset]


def _ibug_300w(subset: str, differs: str = "", part_of: str = "") -> Protocol:
    return Protocol("300w", subset, "outer_eye", 0.08, 0.08, differs, part_of)


PROTOCOLS: dict[tuple[str, str], Protocol] = {
    (each.dataset, each.subset): each
    for each in (
        _ibug_300w("common"),
        _ibug_300w("challenging"),
        _ibug_300w("full"),
        _ibug_300w("private"),
        _ibug_300w("helen_test", "these are the HELEN faces of the common subset, without those of LFPW", "common"),
        _ibug_300w("lfpw_test", "these are the LFPW faces of the common subset, without those of HELEN", "common"),
        _ibug_300w("train", "these are the training faces: the figures say nothing about new ones"),
        Protocol("pts", "all", "outer_eye", 0.08, 0.08, "these are faces of your own, on which no paper reports"),
        Protocol("rendered", "test", "outer_eye", 0.08, 0.08, "these are rendered faces, on which no paper reports"),
    )
}
