"""Trains FFLD and its baselines (gluon_models/ffld/network.py); the defaults are the paper's, Sec. 6.6.

FFLD needs a baseline that is trained already: --init takes its weights.
"""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

import numpy as np
from mxnet.gluon import HybridBlock

from common.options import option
from datasets.faces import FaceDataset
from datasets.markups import Markup
from datasets.pose_balance import balanced_indices
from datasets.render.faces import RenderedFaces
from engine.feed import Objective
from gluon_models import describe
from gluon_models.ffld.network import FFLD, RECIPES, Recipe, recipes_for
from gluon_models.ffld.objective import RefinementObjective
from gluon_models.points import PointLoss, PointObjective
from gluon_models.weights import WeightsInfo, read_info
from training.landmark_training import LandmarkTraining, TrainingContext
from training.settings import LandmarkSettings

BASELINES = {"ffld_resnet18": "resnet18_slim", "ffld_resnet50": "resnet50_slim"}
LARGE_POSE_POINTS = 68  # of 300W-LP
MODELS = (*BASELINES.values(), *BASELINES)


@dataclass(frozen=True)
class FFLDSettings(LandmarkSettings):
    """FFLD's own options; the switches are those of Table 6."""

    baseline: str | None = option(None, "FFLD: weights of its baseline, loaded after those of --init", metavar="FILE")
    map_gradient: bool = option(
        True, "FFLD: the refinements' losses train the feature maps too, the paper's low level (Table 6)"
    )
    location_gradient: bool = option(
        True, "FFLD: the refinements' losses train the points they start from, the paper's crop location (Table 6)"
    )


class FFLDTraining(LandmarkTraining):
    """Trains a baseline on its points, FFLD on the points of all stages."""

    settings_type = FFLDSettings

    def recipes_for(self, model: str, dataset: str) -> Mapping[str, Recipe]:
        """The paper has different values for pre-training, AFLW and refinement."""
        return recipes_for(model, dataset)

    def describe_network(self, settings: FFLDSettings, recipe: Recipe, markup: Markup) -> WeightsInfo:
        """The network to train; FFLD has a refinement for each loss but the first."""
        overrides: dict[str, Any] = {"num_landmarks": markup.num_landmarks}
        if settings.model in BASELINES:
            overrides["num_stages"] = recipe.loss.count("/")
            overrides["map_gradient"] = settings.map_gradient
            overrides["location_gradient"] = settings.location_gradient
        if "resnet50" in settings.model:
            overrides["branch_start"] = recipe.branch_start
        return describe(settings.model, markup.name, **overrides)

    def fill_network(self, net: HybridBlock, context: TrainingContext) -> None:
        """Loads the network's weights of --init, then its baseline's of --baseline."""
        super().fill_network(net, context)
        model, path = context.settings.model, context.settings.baseline
        if not path:
            return
        expected = BASELINES.get(model)
        if read_info(path).model != expected:
            wanted = f"name weights of {expected}" if expected else f"{model} is a baseline itself, use --init"
            raise ValueError(f"--baseline {path}: {wanted}")
        self.fill_from(net.cascade.baseline, path, context)

    def start_advice(self, context: TrainingContext) -> str:
        """The paper trains the baseline on 300W-LP, then on 300-W, then all of FFLD (Sec. 6.6) [F30]."""
        settings = context.settings
        baseline = BASELINES.get(settings.model)
        other_points = context.markup.num_landmarks != LARGE_POSE_POINTS
        starts_there = not baseline and (other_points or settings.dataset in ("rendered", "300w_lp"))
        if settings.init or settings.baseline or starts_there:
            return ""
        model, dataset = (baseline, settings.dataset) if baseline else (settings.model, "300w_lp")
        data = "" if dataset == "rendered" else f"--dataset {dataset} --data DIR "
        before = f"python train_ffld.py --model {model} {data}--out BEFORE"
        return f"pass --init BEFORE/best.params, which this writes: {before}"

    def start_from(self, net: HybridBlock, path: str, context: TrainingContext) -> None:
        """Fills the network from a file of itself, of its baseline alone, or of FFLD with more stages."""
        source = read_info(path)
        baseline_only = source.model == BASELINES.get(context.settings.model)
        fewer_stages = isinstance(net, FFLD) and source.overrides.get("num_stages", 0) > net.num_stages
        self.fill_from(net.cascade.baseline if baseline_only else net, path, context, whole=not fewer_stages)

    def make_objective(self, net: HybridBlock, context: TrainingContext) -> Objective:
        """Compares points, for FFLD those of every stage."""
        loss, eye_corners = context.recipe.loss, context.markup.outer_eye_corners
        if isinstance(net, FFLD):
            return RefinementObjective(net, loss.split("/"), context.spec, eye_corners, context.devices)
        return PointObjective(PointLoss(loss), context.spec, eye_corners, context.devices)

    def loader_order(self, faces: FaceDataset, context: TrainingContext) -> np.ndarray | None:
        """Rare poses as often as common ones where the recipe asks for it (Sec. 6.6)."""
        if not context.recipe.balance_poses:
            return None
        if isinstance(faces, RenderedFaces):
            raise ValueError("--balance-poses: rendered faces are drawn one by one; use a data set of photos")
        order = balanced_indices(faces.points, seed=context.settings.seed)
        print(f"poses balanced: {len(order)} faces in an epoch")
        return order

    def make_before_epoch(
        self, objective: Objective, context: TrainingContext
    ) -> Callable[[list[dict[str, Any]]], None]:
        """Removes Align Loss's Gaussian once the loss stops going down (Sec. 6.6)."""

        def before_epoch(history: list[dict[str, Any]]) -> None:
            smooths = isinstance(objective, RefinementObjective) and objective.smooths
            if smooths and plateau(history, context.recipe.gaussian_patience):
                objective.remove_gaussian()
                print(f"Align Loss without its Gaussian from epoch {len(history) + 1} on")

        return before_epoch


TRAINING = FFLDTraining(__doc__, MODELS, RECIPES)


def plateau(history: Sequence[dict[str, float]], patience: int) -> bool:
    """Whether the training loss ever failed, for `patience` epochs in a row, to go below its lowest value before."""
    lowest, since = float("inf"), 0
    for line in history:
        lowest, since = (line["loss"], 0) if line["loss"] < lowest else (lowest, since + 1)
        if since == patience:
            return True
    return False


if __name__ == "__main__":
    cli.run(TRAINING.main)
