"""Recipes: how a network is trained. A paper's file subclasses one of these and gives each value its section.

Every field is an option of the training script. A field that stays None is something the recipe does without: it has
no option.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.options import option


@dataclass(frozen=True)
class BaseRecipe:
    """What every recipe has."""

    epochs: int = option(30, "passes over the training set", least=1)
    batch_size: int = option(32, "samples per batch, over all devices", least=1)
    optimizer: str = option("adam", "MXNet optimizer, such as adam, sgd or rmsprop")
    momentum: float | None = option(None, "momentum of sgd", most=1)
    learning_rate: float = option(1e-3, "initial learning rate", flag="lr")
    schedule: str = option("constant", "learning-rate schedule: step, milestones, cosine or constant")
    decay_factor: float | None = option(None, "factor on the learning rate at each decay", flag="lr-decay")
    decay_epochs: int | None = option(None, "epochs between two decays", flag="lr-decay-epoch", least=1)
    decay_milestones: tuple[int, ...] | None = option(
        None, "epochs after which the learning rate decays, such as 20,35", flag="lr-decay-epoch"
    )
    warmup_epochs: float = option(0.0, "epochs over which the learning rate rises from 0")
    weight_decay: float = option(0.0, "weight decay of the optimizer", flag="wd")
    gradient_clip: float | None = option(None, "bound on each element of the mean gradient; 0 turns clipping off")
    average_decay: float = option(0.0, "decay of the moving average of the weights; 0 turns averaging off", most=1)
    flip_probability: float = option(0.0, "augmentation: fraction of mirrored samples", most=1)
    smallest_scale: float | None = option(
        None, "augmentation: smallest scale, as a fraction of the original size", most=100
    )
    largest_scale: float | None = option(
        None, "augmentation: largest scale, as a fraction of the original size", most=100
    )


@dataclass(frozen=True)
class LandmarkRecipe(BaseRecipe):
    """What every recipe of a landmark network has."""

    loss: str | None = option(None, "training loss; an unknown name lists the known ones")
    dropout: float | None = option(None, "fraction of features dropped in training", most=0.99)
    rotation_degrees: float = option(0.0, "augmentation: largest rotation to either side, in degrees", most=360)
    scale_fraction: float | None = option(None, "augmentation: largest change of scale, as a fraction", most=0.99)
    shift_fraction: float = option(0.0, "augmentation: largest shift, as a fraction of the crop's side", most=10)
    brightness_fraction: float | None = option(
        None, "augmentation: largest change of brightness, as a fraction of the range of grey levels"
    )
    photometric: bool = option(False, "augmentation: colour, blur, noise and occluding boxes, on or off")
