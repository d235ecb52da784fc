"""What the training scripts of all landmark networks share: faces in, weights out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from common import cli
from common.recipe import LandmarkRecipe
from datasets.augment import Augmentation, TrainingCrop, with_photometric
from datasets.cache import CachedFaces
from datasets.catalog import CATALOG, DATASETS
from datasets.conversions import sources_of
from datasets.faces import Face, FaceDataset
from datasets.heatmaps import DECODINGS
from datasets.loader import Cut, Loader
from datasets.markup import to_dict
from datasets.markups import Markup, is_known
from engine import devices as processors
from engine.distributed import Team
from engine.feed import Objective
from engine.fit import Fit, FitOptions
from engine.record import ErrorMeasure, RunRecord
from evaluation.metrics import mean_of_known, nme
from evaluation.protocols import get_protocol
from gluon_models import InputSpec, describe, get_model, save_weights
from gluon_models.fine_tuning import fill_fitting, layers_of
from gluon_models.weights import WeightsInfo, fill, info_path, read_info
from inference.landmark_detector import markup_of
from inference.pipeline import PointPredictor, StagePredictor, crop_dataset, predict_cropped
from inference.training_boxes import known_box, measure_box, whole_face_margin
from training import advice
from training import options as training
from training.chosen_faces import OWN, load_faces
from training.looks import LookObjective
from training.options import Command, CommandLine
from training.plan import STEPS, Plan, measure_plan
from training.recipe_options import Variants
from training.settings import DEVICE, LandmarkSettings

NME = ErrorMeasure("nme", "validation NME")
Validate = Callable[[HybridBlock], "dict[str, float]"]


@dataclass(frozen=True)
class TrainingContext:
    """What the steps of one training know.

    Attributes:
        settings: of the command line, of the script's own type.
        recipe: of the paper's type.
        info: the network, how it was built and how it sees a face.
        markup: of the training faces.
        devices: that batches are divided among.
    """

    settings: Any
    recipe: Any
    info: WeightsInfo
    markup: Markup
    devices: list[mx.Context]

    @property
    def spec(self) -> InputSpec:
        """How the network sees a face."""
        return self.info.spec

    def predictor(self, net: HybridBlock) -> PointPredictor:
        """Runs a network on validation crops, in batches of their own size."""
        size = self.settings.validation_batch_size
        return PointPredictor(net, self.spec, self.devices[0], size)

    @property
    def normalizer(self) -> str:
        """Of the validation error."""
        return self.markup.normalizer

    def error(self, points_image: np.ndarray, truth_image: np.ndarray) -> float:
        """Validation error of points (n, K, 2): the mean NME, a fraction; faces without a known length do not count."""
        return float(mean_of_known(nme(points_image, truth_image, self.normalizer, markup=self.markup), axis=0))


class ReadyTraining(NamedTuple):
    """A training up to its first step.

    Attributes:
        context: see there.
        faces: to train on, each once.
        validation: the faces that choose the epoch.
        net: with the weights it starts from.
        objective: the losses of a batch.
        batches: of each epoch.
        validate: measures a network.
    """

    context: TrainingContext
    faces: FaceDataset
    validation: FaceDataset
    net: HybridBlock
    objective: Objective
    batches: Loader
    validate: Validate

    @property
    def whole_objective(self) -> Objective:
        """The objective, behind the changes of pixels that are left to the device."""
        return LookObjective(self.objective) if self.context.settings.augment_on == DEVICE else self.objective


class LandmarkTraining(ABC):
    """One system's training; a script's subclass defines what is particular to its paper.

    Args:
        description: of the command.
        models: names of the networks.
        recipes: by name, then by what is trained; "" stands for everything else.
    """

    settings_type: type[LandmarkSettings] = LandmarkSettings

    def __init__(self, description: str, models: Sequence[str], recipes: Mapping[str, Variants]) -> None:
        self.models, self.recipes = models, recipes
        self.command_line = CommandLine(description, models, DATASETS, recipes, self.settings_type)

    def recipes_for(self, model: str, dataset: str) -> Mapping[str, LandmarkRecipe]:
        """The recipe that each name stands for, given a network and a data set."""
        return {name: variants[""] for name, variants in self.recipes.items()}  # type: ignore[misc]

    def load_faces(self, settings: Any, recipe: Any) -> tuple[FaceDataset, FaceDataset]:
        """Training faces, followed by those of --more, and validation faces."""
        return load_faces(settings)

    def epoch_faces(self, faces: FaceDataset, context: TrainingContext) -> FaceDataset:
        """What one epoch goes through: by default, each training face once."""
        return faces

    def describe_network(self, settings: Any, recipe: Any, markup: Markup) -> WeightsInfo:
        """The network to train."""
        return describe(settings.model, markup.name, num_landmarks=markup.num_landmarks)

    def fill_network(self, net: HybridBlock, context: TrainingContext) -> None:
        """Gives the initialised network the weights that a new run starts from; a resumed one has its own."""
        if context.settings.init:
            self.start_from(net, context.settings.init, context)

    def start_advice(self, context: TrainingContext) -> str:
        """What to pass where training starts from random weights and the paper's does not; else ""."""
        return ""

    def start_from(self, net: HybridBlock, path: str, context: TrainingContext) -> None:
        """Fills the network with the weights of --init."""
        self.fill_from(net, path, context)

    def fill_from(self, net: HybridBlock, path: str, context: TrainingContext, whole: bool = True) -> None:
        """Fills a network, or a part of one; weights of another number of landmarks as far as they fit.

        Args:
            net: gets the parameters.
            path: of the .params file.
            context: of the training.
            whole: whether the file may hold no more than the network.
        """
        count = read_info(path).overrides.get("num_landmarks") if info_path(path).is_file() else None
        if count in (None, context.markup.num_landmarks):
            fill(net, path, context.devices, whole)
            return
        source, target = markup_of(read_info(path)), context.markup
        sources = sources_of(source, target) or ()
        lacking = layers_of(fill_fitting(net, path, whole, sources))
        converted = f", those of {source.name} points are converted to {target.name}" if sources else ""
        unknown = "" if sources else f"no exact conversion to {target.name} is known, so "
        rest = f"; {unknown}these start from random weights: {lacking}" if lacking else ""
        print(
            f"{path} is of {count} landmarks, not {target.num_landmarks}: all layers that fit are loaded"
            f"{converted}{rest}"
        )

    @abstractmethod
    def make_objective(self, net: HybridBlock, context: TrainingContext) -> Objective:
        """The losses of a batch."""

    def augmentation(self, recipe: Any) -> Augmentation:
        """The recipe's augmentation, with photometric changes where it asks for them."""
        geometry = Augmentation(
            rotation_degrees=recipe.rotation_degrees,
            scale_fraction=recipe.scale_fraction or 0.0,
            shift_fraction=recipe.shift_fraction,
            flip_probability=recipe.flip_probability,
        )
        return with_photometric(geometry) if recipe.photometric else geometry

    def loader_order(self, faces: FaceDataset, context: TrainingContext) -> np.ndarray | None:
        """Indices of the faces that an epoch takes, repeats allowed; None for every face once."""
        return None

    def make_validate(self, dataset: FaceDataset, context: TrainingContext) -> Validate:
        """NME on the validation faces, cropped once, and that of every stage where there are several."""
        faces = crop_dataset(dataset, context.spec)

        def validate(net: HybridBlock) -> dict[str, float]:
            predictor = context.predictor(net)
            stages = np.moveaxis(predict_cropped(StagePredictor(predictor), faces), 1, 0)
            errors = [context.error(points, faces.truth_image) for points in stages]
            each = {f"nme_stage_{stage}": error for stage, error in enumerate(errors)}
            return {"nme": errors[-1], **(each if len(errors) > 1 else {})}

        return validate

    def fit_options(self, settings: Any, recipe: Any) -> FitOptions:
        """Options of the training loop."""
        return training.fit_options(settings, recipe)

    def make_before_epoch(
        self, objective: Objective, context: TrainingContext
    ) -> Callable[[list[dict[str, Any]]], None]:
        """A function that is called before each epoch with the log of the earlier ones."""
        return lambda history: None

    def finish(self, faces: FaceDataset, folder: Path) -> None:  # noqa: B027
        """Writes what a run leaves besides its weights, given its training faces and its folder."""

    def parse(self, argv: Sequence[str] | None = None) -> Command:
        """Reads the command line."""
        command = self.command_line.parse(argv, self.recipes_for)
        self.fit_options(command.settings, command.recipe)  # refuses what it does not know before any work
        return command

    def make_context(self, settings: Any, recipe: Any, markup: Markup, devices: list[mx.Context]) -> TrainingContext:
        """What the steps of a training know once its faces are loaded."""
        info = self.describe_network(settings, recipe, markup)
        if info.spec.decoding not in DECODINGS:
            raise ValueError(f"unknown --decoding '{info.spec.decoding}': choose one of {', '.join(DECODINGS)}")
        if not is_known(markup):
            info = replace(info, markup_definition=to_dict(markup))
        if shows_profiles(settings.dataset):
            markup = replace(markup, outer_eye_corners=None, pupils=None)
        return TrainingContext(settings, recipe, info, markup, devices)

    def make_crop(self, context: TrainingContext) -> TrainingCrop:
        """Makes random training crops of faces."""
        spec = context.spec
        augmentation, apart = self.augmentation(context.recipe), context.settings.augment_on == DEVICE
        return TrainingCrop(spec.size, spec.box_margin, context.markup, augmentation, apart)

    @contextmanager
    def ready(self, settings: Any, recipe: Any, team: Team | None = None) -> Iterator[ReadyTraining]:
        """Everything that training steps need, in memory; nothing is written.

        Args:
            settings: of the command line.
            recipe: the chosen one.
            team: the workers of which this is one; by default it works alone.
        """
        team = team or Team()
        devices = processors.contexts(settings.gpus)
        settings = training.prepare(settings, devices)
        faces, validation = self.load_faces(settings, recipe)
        context = with_training_box(self.make_context(settings, recipe, faces.markup, devices), faces)
        net = get_model(context.info.model, **context.info.overrides)
        processors.settle_before_fork()
        read = CachedFaces(faces, settings.workers, show_progress) if settings.cache else faces
        samples = self.epoch_faces(read, context)
        team.agree({"their training faces": tuple(samples.names)})
        print(f"{len(samples)} training faces, {len(validation)} for validation")
        order = self.loader_order(samples, context)
        crop, seed = self.make_crop(context), settings.seed
        # The workers are forked before anything lies on a GPU.
        cut = Cut(team.rank, team.size, len(devices))
        with Loader(samples, crop, recipe.batch_size, seed, settings.workers, order, cut) as batches:
            crop_shape = (len(context.spec.mean), context.spec.size, context.spec.size)
            static_shape = context.spec.output != "heatmaps"
            training.initialise(net, (1, *crop_shape), devices, seed, static_shape)
            objective = self.make_objective(net, context)
            if not settings.resume:
                self.fill_network(net, context)
                say([f"all weights start at random: {each}" for each in [self.start_advice(context)] if each])
            say(advice.about_size(len(faces), len(validation), bool(settings.init or settings.resume)))
            print(training.memory_text(net, crop_shape, -(-recipe.batch_size // team.size), devices))
            validate = self.make_validate(validation, context) if team.first else no_validation
            yield ReadyTraining(context, faces, validation, net, objective, batches, validate)

    def plan(self, settings: Any, recipe: Any, steps: int = STEPS) -> Plan:
        """What a training would take, by some measured steps and one validation."""
        with self.ready(settings, recipe) as ready:
            spec, devices = ready.context.spec, ready.context.devices
            crop_shape = (len(spec.mean), spec.size, spec.size)
            return measure_plan(
                ready.context.info.model,
                ready.net,
                ready.batches,
                ready.batches.samples,
                ready.whole_objective,
                ready.validate,
                len(ready.validation),
                self.fit_options(ready.context.settings, recipe),
                devices,
                recipe.batch_size,
                training.planned_gigabytes(ready.net, crop_shape, recipe.batch_size, devices),
                steps,
            )

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Trains one network as the command line says."""
        settings, recipe, arguments = self.parse(argv)
        if settings.dry_run:
            print(self.plan(settings, recipe).text())
            return 0
        with training.join_workers(settings, recipe) as team, training.start_folder(
            settings, team
        ) as folder, self.ready(settings, recipe, team) as ready:
            context = ready.context
            fit = Fit(
                ready.net,
                ready.batches,
                ready.whole_objective,
                ready.validate,
                NME,
                lambda best: save_weights(best, folder / "best.params", context.info),
                self.fit_options(context.settings, recipe),
                context.devices,
                self.make_before_epoch(ready.objective, context),
                team,
            )
            record = RunRecord(folder, arguments, training.device_names(context.devices, team))
            state = fit.run(folder, record, arguments, resume=bool(settings.resume))
            if not team.first:
                return 0
            print(f"best validation NME {100 * state.best:.2f} % in epoch {state.best_epoch}: {folder / 'best.params'}")
            mean_face = context.error(*advice.mean_face_points(ready.faces, ready.validation))
            say(advice.about_error(state.best, mean_face))
            self.finish(ready.faces, folder)
        return 0


def no_validation(net: HybridBlock) -> dict[str, float]:
    """In the place of a validation that only the first worker makes."""
    return {}


def with_training_box(context: TrainingContext, faces: FaceDataset) -> TrainingContext:
    """Notes in what the weights file says how the faces' boxes lie in a detector's, where their markup does not tell.

    `predict.py` then crops a face that a detector found as training did. Of one's own faces the crop shows the whole
    face, however little of it the points cover: networks of 68 points saw as much, and eyes alone are easily mistaken.
    """
    info, box = context.info, known_box(faces.markup)
    if box is None:
        measured = measure_box(faces)
        box, seen = measured.correction, f"OpenCV's cascade finds {measured.found} of {measured.faces} training faces"
        if box is None:
            print(f"{seen}: how far their points reach is not known, and predict.py crops as for the 68 of 300-W")
            return context
        print(
            f"{seen}: the box of their points is {box.width:.2f} as wide, {box.height:.2f} as high as that of 68 points"
        )
        info = replace(info, training_box=box._asdict())
    if context.settings.dataset == OWN:
        info = replace(info, spec=replace(info.spec, box_margin=whole_face_margin(info.spec.box_margin, box)))
    return replace(context, info=info)


def say(lines: Iterable[str]) -> None:
    """Prints lines, if there are any."""
    for line in lines:
        print(line)


def shows_profiles(dataset: str) -> bool:
    """Whether faces of a data set turn so far that the distance between the eyes means nothing."""
    return dataset in CATALOG and get_protocol(dataset, CATALOG[dataset].training).has_profiles


def show_progress(faces: Iterable[Face], count: int) -> Iterable[Face]:
    """Shows how many of the faces are read."""
    return cli.progress(faces, "reading", count)
