"""Exact conversions between markups: every point of the new one is a point of the old one, or the mean of two.

A network that places 68 points so places 51, 49 and 5 of them, and one that places 98 places 68.
"""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np

from datasets.markups import (
    AFLW_19,
    AFLW_21,
    IBUG_49,
    IBUG_51,
    IBUG_68,
    INSIGHTFACE_5,
    MARKUPS,
    WFLW_98,
    Markup,
    markup_named,
)

Sources = Tuple[Tuple[int, ...], ...]


def _by_name(source: Markup, target: Markup) -> Sources:
    """For a target whose points all have the names that they have in the source."""
    return tuple((source.names.index(name),) for name in target.names)


# Two points of WFLW's eyelids, its lower edges of the brows, every second point of its outline and its pupils have no
# counterpart in 68. The brows of 68 are WFLW's upper edges.
_98_TO_68: Sources = (
    *((k,) for k in range(0, 33, 2)),
    *((k,) for k in (*range(33, 38), *range(42, 47), *range(51, 60))),
    *((k,) for k in (60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75)),
    *((k,) for k in range(76, 96)),
)
# As InsightFace aligns faces with 68 points: an eye's centre is the middle of its corners.
_68_TO_5: Sources = ((36, 39), (42, 45), (30,), (48,), (54,))


def _after(first: Sources, second: Sources) -> Sources:
    """What a conversion makes of what another made; means are of single points."""
    return tuple(tuple(index for k in sources for index in first[k]) for sources in second)


CONVERSIONS: dict[tuple[str, str], Sources] = {
    (IBUG_68.name, IBUG_51.name): _by_name(IBUG_68, IBUG_51),
    (IBUG_68.name, IBUG_49.name): _by_name(IBUG_68, IBUG_49),
    (IBUG_51.name, IBUG_49.name): _by_name(IBUG_51, IBUG_49),
    (IBUG_68.name, INSIGHTFACE_5.name): _68_TO_5,
    (WFLW_98.name, IBUG_68.name): _98_TO_68,
    (WFLW_98.name, IBUG_51.name): _after(_98_TO_68, _by_name(IBUG_68, IBUG_51)),
    (WFLW_98.name, IBUG_49.name): _after(_98_TO_68, _by_name(IBUG_68, IBUG_49)),
    (WFLW_98.name, INSIGHTFACE_5.name): _after(_98_TO_68, _68_TO_5),
    (AFLW_21.name, AFLW_19.name): _by_name(AFLW_21, AFLW_19),
}
"""Points of the first markup whose mean is each point of the second, by (first, second)."""


def sources_of(source: Markup, target: Markup) -> Sources | None:
    """Points of one markup whose mean is each point of another; None where no exact conversion is known.

    A user's own markup is known by the names of its points, if a markup that the first converts to has all of them.
    """
    known = CONVERSIONS.get((source.name, target.name))
    if known is not None or source not in MARKUPS:
        return known
    for name in (source.name, *convertible(source)):
        markup = markup_named(name)
        if set(target.names) <= set(markup.names):
            chosen = _by_name(markup, target)
            return chosen if markup == source else _after(CONVERSIONS[source.name, name], chosen)
    return None


def convert(points: np.ndarray, source: Markup, target: Markup) -> np.ndarray:
    """Points (..., K, 2) of one markup as those of another, (..., M, 2).

    Raises:
        ValueError: There is no exact conversion between the two, or the points are not of the first.
    """
    if points.shape[-2] != source.num_landmarks:
        raise ValueError(f"points {points.shape} are not {source.num_landmarks} of {source.name}")
    if source.name == target.name:
        return points
    sources = sources_of(source, target)
    if sources is None:
        known = convertible(source)
        text = f"it converts to {', '.join(known)}" if known else "none leads from it"
        raise ValueError(f"no exact conversion of {source.name} points to {target.name}: {text}")
    return np.stack([points[..., list(each), :].mean(axis=-2) for each in sources], axis=-2)


def convertible(source: Markup) -> Sequence[str]:
    """Names of the markups that a markup's points convert to."""
    return [second for first, second in CONVERSIONS if first == source.name]
