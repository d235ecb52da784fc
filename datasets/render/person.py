"""Who is rendered: random people, the faces they make, how they hold their heads and what they look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from datasets.render.mesh import NUM_IDENTITY, SCALP, Expression, Pose, make_controls

_SKIN = np.array([[246, 214, 192], [232, 188, 160], [210, 160, 128], [178, 124, 92], [135, 88, 62], [92, 60, 44],
                  [62, 42, 34]], dtype=float)  # fmt: skip
_HAIR = np.array([[22, 18, 18], [42, 30, 24], [70, 48, 34], [105, 74, 48], [168, 128, 82], [205, 172, 120],
                  [130, 62, 36], [150, 148, 146], [215, 212, 208]], dtype=float)  # fmt: skip
_IRIS = np.array([[52, 34, 24], [78, 52, 34], [100, 80, 50], [90, 110, 80], [95, 125, 155], [120, 130, 135]],
                 dtype=float)  # fmt: skip
_HAIR_ODDS = np.array([0.16, 0.2, 0.18, 0.14, 0.09, 0.07, 0.05, 0.06, 0.05])
_DARK_HAIR_ODDS = np.array([0.55, 0.25, 0.08, 0.0, 0.02, 0.0, 0.0, 0.05, 0.05])


@dataclass(frozen=True)
class Look:
    """What a face is painted with; strengths run from 0 to 1, colours are (3,) RGB.

    Attributes:
        hairline: mm of the plane's t where the forehead ends; baldness keeps the scalp bare.
        fringe: mm that strands of hair hang below the hairline.
        temple: mm of the plane's s beyond which the side of the head is hair.
        sideburn: mm of the plane's t where the hair at the sides ends.
        hat: None, or the colour of a cap that covers the scalp.
    """

    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    brow: np.ndarray
    age: float
    brow_strength: float
    brow_width: float
    makeup: float
    stubble: float
    beard: float
    moustache: float
    freckles: float
    blush: float
    hairline: float
    fringe: float
    temple: float
    sideburn: float
    bald: bool
    hat: np.ndarray | None
    gaze: tuple[float, float]


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """An RGB colour (3,), mostly dull, as the world is; may reach a little beyond 0 to 255."""
    vivid = rng.uniform(0, 255, 3)
    return vivid.mean() + (vivid - vivid.mean()) * rng.beta(1, 2.6) + rng.uniform(-70, 70)


def random_pose(rng: np.random.Generator) -> Pose:
    """Mostly frontal, with wide tails: yaw to 60 degrees, pitch and roll to 30."""
    yaw = rng.choice([rng.normal(0, 10), rng.normal(0, 23), rng.uniform(-60, 60)], p=[0.47, 0.44, 0.09])
    pitch, roll = rng.normal(1, 10), rng.normal(0, 10)
    return Pose(float(np.clip(yaw, -60, 60)), float(np.clip(pitch, -30, 30)), float(np.clip(roll, -30, 30)),
                float(np.exp(rng.uniform(np.log(500), np.log(4000)))))  # fmt: skip


def _pair(rng: np.random.Generator, value: float, spread: float) -> tuple[float, float]:
    right, left = np.clip(value + rng.normal(0, spread, 2), 0, 1.3)
    return float(right), float(left)


def random_expression(rng: np.random.Generator) -> Expression:
    """Neutral, smiling, talking or grimacing, with eyes open, half shut or shut."""
    mood = rng.choice(["neutral", "smile", "talk", "any"], p=[0.34, 0.4, 0.14, 0.12])
    smile = {"neutral": 0.0, "smile": rng.uniform(0.3, 1.15), "talk": 0.1, "any": rng.uniform(0, 1)}[mood]
    jaw = {"neutral": rng.exponential(0.8), "smile": rng.exponential(3.5), "talk": rng.uniform(2, 30),
           "any": rng.exponential(8)}[mood]  # fmt: skip
    lively = float(mood == "any")
    closed = rng.choice([rng.uniform(-0.12, 0.25), rng.uniform(0.2, 0.75), 1.0], p=[0.88, 0.08, 0.04])
    raised = rng.normal(0, 0.35) + rng.normal(0, 0.12, 2) * (1 + lively)
    return Expression(
        jaw_open=float(min(jaw, 34)),
        smile=_pair(rng, smile, 0.06 + 0.1 * lively),
        show_teeth=float(max(0, rng.uniform(-4, 12)) * (smile > 0.2) + max(0, rng.normal(-1, 1.5))),
        pucker=float(rng.uniform(0, 1) * (mood in ("talk", "any")) * (rng.random() < 0.4)),
        frown_lips=float(max(0, rng.normal(0, 0.4)) * (smile < 0.2)),
        eye_closed=(float(np.clip(closed + rng.normal(0, 0.04), -0.2, 1)),
                    float(np.clip(closed + rng.normal(0, 0.04) + 0.7 * (rng.random() < 0.02), -0.2, 1))),
        squint=float(np.clip(0.5 * smile + rng.normal(0, 0.3), -0.2, 1.2)),
        brow_raise=(float(np.clip(raised[0], -0.6, 1.2)), float(np.clip(raised[1], -0.6, 1.2))),
        brow_knit=float(np.clip(rng.normal(0, 0.4), -0.3, 1.2)),
        jaw_side=float(rng.normal(0, 0.8) + lively * rng.normal(0, 3)),
    )  # fmt: skip


def _along(table: np.ndarray, at: float) -> np.ndarray:
    position = at * (len(table) - 1)
    return np.array([np.interp(position, np.arange(len(table)), table[:, c]) for c in range(3)])


def random_skin(rng: np.random.Generator) -> np.ndarray:
    """A skin colour (3,), from very light to very dark."""
    return _along(_SKIN, rng.random())


def random_look(rng: np.random.Generator) -> Look:
    """Draws skin, hair, eyes, lips, age, beard, make-up and headgear."""
    tone = rng.beta(1.0, 2.3)
    skin = _along(_SKIN, tone) * rng.uniform(0.9, 1.1) * (1 + rng.normal(0, 0.025, 3))
    hair = _HAIR[rng.choice(len(_HAIR), p=_HAIR_ODDS if tone < 0.45 else _DARK_HAIR_ODDS)] * rng.uniform(0.7, 1.2)
    age, bearded, painted = rng.beta(1.1, 1.8), rng.random(), rng.random()
    lips = skin * (rng.uniform(0.75, 0.98), rng.uniform(0.5, 0.75), rng.uniform(0.52, 0.78))
    if painted < 0.22:
        lips = np.array([rng.uniform(120, 220), rng.uniform(25, 110), rng.uniform(40, 120)])
    fringe = rng.choice([0.0, rng.uniform(5, 25), rng.uniform(25, 58)], p=[0.62, 0.22, 0.16])
    temple = rng.choice([rng.uniform(86, 108), rng.uniform(106, 124), rng.uniform(62, 86)], p=[0.4, 0.35, 0.25])
    return Look(
        skin=skin, hair=hair, iris=_IRIS[rng.integers(0, 2 if tone > 0.45 else len(_IRIS))] * rng.uniform(0.7, 1.3),
        lips=lips, brow=np.minimum(hair * rng.uniform(0.6, 1.1), skin * 0.75), age=age,
        brow_strength=rng.uniform(0.25, 1.0), brow_width=rng.uniform(0.6, 1.35),
        makeup=rng.uniform(0.3, 1) if painted < 0.3 else 0.0,
        stubble=rng.uniform(0.05, 0.4) if 0.7 < bearded < 0.88 else 0.0,
        beard=rng.uniform(0.4, 1.0) if bearded > 0.91 else 0.0,
        moustache=rng.uniform(0.4, 1.0) if bearded > 0.87 else 0.0,
        freckles=rng.uniform(0.1, 1) if tone < 0.3 and rng.random() < 0.15 else 0.0, blush=rng.uniform(0, 0.75),
        hairline=rng.normal(-63, 7), fringe=fringe, temple=temple,
        sideburn=300.0 if temple < 86 else rng.uniform(-15, 35), bald=bool(rng.random() < 0.1),
        hat=np.clip(any_colour(rng), 10, 240) if rng.random() < 0.1 else None,
        gaze=(float(np.clip(rng.normal(0, 2.2), -5, 5)), float(np.clip(rng.normal(0, 0.8), -2, 2))),
    )  # fmt: skip


class Person(NamedTuple):
    """Everything about a rendered face that is not the picture around it."""

    controls: np.ndarray
    expression: Expression
    pose: Pose
    look: Look


def random_person(rng: np.random.Generator) -> Person:
    """Draws a person, a movement of the face, a pose and a look."""
    expression = random_expression(rng)
    identity = np.clip(rng.normal(0, 1, NUM_IDENTITY), -2.3, 2.3)
    controls = make_controls(identity, rng.normal(0, 0.22, NUM_IDENTITY), expression)
    look = random_look(rng)
    volume = 0.0 if look.bald else rng.uniform(2, 22)
    controls[SCALP] *= 1 + volume / 100
    return Person(controls, expression, random_pose(rng), look)
