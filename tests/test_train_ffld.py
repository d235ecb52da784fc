"""What train_ffld.py makes of a command line: recipe, network, losses, starting weights, balance of poses."""

import mxnet as mx
import numpy as np
import pytest

import train_ffld
from datasets.markups import get_markup
from datasets.render.faces import RenderedFaces
from evaluation.metrics import nme
from gluon_models import describe, get_model, get_spec, save_weights
from gluon_models.ffld.network import recipes_for
from gluon_models.ffld.objective import RefinementObjective
from gluon_models.points import PointObjective
from inference.pipeline import PointPredictor, crop_dataset, predict_cropped
from training import options as training

SPEC = get_spec("ffld_resnet18")
CPU = [mx.cpu()]


def context_of(*text, num_landmarks=68):
    settings, recipe, _ = train_ffld.TRAINING.parse(["--out", "run", *text])
    return train_ffld.TRAINING.make_context(settings, recipe, get_markup(num_landmarks), CPU)


def network(*text):
    context = context_of("--model", "ffld_resnet18", *text)
    net = get_model(context.info.model, **context.info.overrides)
    training.initialise(net, (1, 3, 224, 224), CPU, seed=0)
    return net, context


@pytest.mark.parametrize(
    ("model", "dataset", "expected"),
    [
        # Sec. 6.6: rate, factor and epochs between two steps, epochs, losses, poses balanced.
        ("resnet18_slim", "300w", (1e-4, 0.3, 50, 350, "normalized_l2", False)),
        ("resnet18_slim", "aflw", (1e-4, 0.3, 8, 56, "normalized_l2", True)),
        ("ffld_resnet50", "aflw", (5e-4, 0.3, 80, 400, "normalized_l2/l2/l1/align", True)),
        # "a learning rate of 0.0002 for 80 epochs", without decay.
        ("resnet18_slim", "300w_lp", (2e-4, "constant", None, 80, "normalized_l2", False)),
        # As on 300-W.
        ("resnet50_slim", "cofw", (1e-4, 0.3, 50, 350, "normalized_l2", False)),
        ("resnet50_slim", "300vw", (1e-4, 0.3, 50, 350, "normalized_l2", False)),
        ("ffld_resnet18", "cofw", (5e-4, 0.3, 80, 400, "normalized_l2/l2/l1/align", False)),
        ("ffld_resnet18", "300vw", (5e-4, 0.3, 80, 400, "normalized_l2/l2/l1/align", False)),
    ],
)
def test_the_recipe_follows_what_is_trained(model, dataset, expected):
    recipe = recipes_for(model, dataset)["paper"]
    steps = (recipe.decay_factor, recipe.decay_epochs) if recipe.schedule == "step" else (recipe.schedule, None)
    assert (recipe.learning_rate, *steps, recipe.epochs, recipe.loss, recipe.balance_poses) == expected
    assert (recipe.optimizer, recipe.batch_size, recipe.weight_decay) == ("adam", 64, 5e-4)


def test_the_number_of_losses_is_that_of_the_stages_and_both_switches_reach_the_network():
    net, context = network("--loss", "l2/l2/align", "--map-gradient", "off")
    assert net.num_stages == 2
    assert context.info.overrides == {
        "num_landmarks": 68,
        "num_stages": 2,
        "map_gradient": False,
        "location_gradient": True,
    }


def test_a_baseline_is_trained_on_its_points_and_ffld_on_those_of_all_stages():
    net, context = network()
    objective = train_ffld.TRAINING.make_objective(net, context)
    assert isinstance(objective, RefinementObjective)
    assert list(objective(net, *_faces(2))) == ["stage 0 normalized_l2", "stage 1 l2", "stage 2 l1", "stage 3 align"]
    plain = context_of("--model", "resnet18_slim")
    objective = train_ffld.TRAINING.make_objective(net.cascade.baseline, plain)
    assert isinstance(objective, PointObjective)
    assert list(objective(net.cascade.baseline, *_faces(2))) == ["points"]


def _faces(count):
    faces = crop_dataset(RenderedFaces(count, 0, 128), SPEC)
    return (faces.crops, faces.truth_image.astype("f")), mx.cpu()


def test_the_weights_of_a_baseline_fill_that_of_ffld(tmp_path):
    baseline = get_model("resnet18_slim", num_landmarks=68)
    training.initialise(baseline, (1, 3, 224, 224), CPU, seed=5)
    save_weights(baseline, tmp_path / "base.params", describe("resnet18_slim", "ibug_68", num_landmarks=68))
    net, context = network()
    train_ffld.TRAINING.start_from(net, str(tmp_path / "base.params"), context)
    faces = mx.nd.random.uniform(-1, 1, (2, 3, 224, 224))
    expected = baseline(faces).asnumpy()
    # The CropNets' last layers start at zero (Sec. 6.6), so every stage answers what the baseline does.
    for points in net.cascade(faces):
        np.testing.assert_allclose(points.asnumpy(), expected, atol=1e-6)

    save_weights(net, tmp_path / "whole.params", context.info)
    again, _ = network()
    train_ffld.TRAINING.start_from(again, str(tmp_path / "whole.params"), context)
    np.testing.assert_allclose(again(faces).asnumpy(), expected, atol=1e-6)
    shorter, _ = network("--loss", "l2/l2")
    train_ffld.TRAINING.start_from(shorter, str(tmp_path / "whole.params"), context)
    np.testing.assert_array_equal(
        shorter.cascade.refinements[0].crop.selection.data().asnumpy(),
        net.cascade.refinements[0].crop.selection.data().asnumpy(),
    )
    with pytest.raises(ValueError, match="belongs to another network"):
        train_ffld.TRAINING.start_from(again, str(tmp_path / "base.params"), context_of("--model", "ffld_resnet50"))


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([5, 4, 3, 2], 1, False),
        ([5, 4, 4.5, 3], 1, True),
        ([5, 4, 4.5, 3], 2, False),
        ([5, 4, 4, 4.5], 2, True),
        # What was removed stays away, however low the loss is afterwards.
        ([5, 4, 4, 4.5, 1, 0.5], 2, True),
        ([], 1, False),
    ],
)
def test_the_gaussian_goes_once_the_loss_stops_falling(losses, patience, expected, capsys):
    history = [{"loss": loss} for loss in losses]
    assert train_ffld.plateau(history, patience) is expected
    net = get_model("ffld_resnet18", num_landmarks=3, num_stages=1)
    objective = RefinementObjective(net, ("l1", "l1+align"), SPEC, (0, 1), CPU)
    before_epoch = train_ffld.TRAINING.make_before_epoch(objective, context_of("--gaussian-patience", str(patience)))
    before_epoch(history)
    before_epoch(history)
    assert objective.smooths is not expected
    assert capsys.readouterr().out.count("without its Gaussian") == expected


def test_validation_measures_every_stage():
    net, context = network("--loss", "l2/l2/l2")
    for refinement in net.cascade.refinements:
        refinement.cropnet.offsets.bias.set_data(mx.nd.ones(136))
    faces = RenderedFaces(3, 0, 128)
    measured = train_ffld.TRAINING.make_validate(faces, context)(net)
    assert list(measured) == ["nme", "nme_stage_0", "nme_stage_1", "nme_stage_2"]
    assert len(set(measured.values())) == 3
    assert measured["nme"] == measured["nme_stage_2"]
    cropped = crop_dataset(faces, context.spec)
    points = predict_cropped(PointPredictor(net, context.spec), cropped)
    expected = nme(points, cropped.truth_image, "outer_eye").mean()
    assert measured["nme"] == pytest.approx(expected)
    assert list(train_ffld.TRAINING.make_validate(faces, context)(net.cascade.baseline)) == ["nme"]


class Posed:
    """A data set that has nothing but its points."""

    def __init__(self, points):
        self.points = points

    def __len__(self):
        return len(self.points)


def test_poses_are_balanced_where_the_recipe_says_so(capsys):
    upright = np.stack([RenderedFaces(1, 0, 128)[0].points_image] * 5)
    turned = upright[:1].copy()
    turned[..., 0] = 64 + 0.3 * (turned[..., 0] - 64) + 0.1 * np.abs(turned[..., 0] - 64)
    faces = Posed(np.concatenate([upright, turned]))
    order = train_ffld.TRAINING.loader_order(faces, context_of("--balance-poses", "on"))
    # One face of a rare pose is repeated until it stands beside the five of the common one as often.
    assert sorted(order) == [0, 1, 2, 3, 4, 5, 5, 5, 5, 5]
    assert "10 faces in an epoch" in capsys.readouterr().out
    assert train_ffld.TRAINING.loader_order(faces, context_of()) is None
    with pytest.raises(ValueError, match="rendered faces are drawn"):
        train_ffld.TRAINING.loader_order(RenderedFaces(2, 0, 64), context_of("--balance-poses", "on"))


@pytest.mark.parametrize(
    ("text", "points", "expected"),
    [
        ("--model resnet18_slim", 68, ""),
        ("--model resnet18_slim --dataset aflw --data d", 19, ""),  # Table 2 has no pre-training on 300W-LP
        ("--model resnet18_slim --dataset cofw --data d", 29, ""),  # F30: nor has COFW
        ("--model resnet18_slim --dataset 300vw --data d", 68, "--model resnet18_slim --dataset 300w_lp --data DIR"),
        ("--model resnet18_slim --dataset 300w --data d", 68, "--model resnet18_slim --dataset 300w_lp --data DIR"),
        ("--model ffld_resnet18", 68, "python train_ffld.py --model resnet18_slim --out BEFORE"),
        (
            "--model ffld_resnet50 --dataset aflw --data d",
            19,
            "--model resnet50_slim --dataset aflw --data DIR --out BEFORE",
        ),
        ("--model ffld_resnet18 --dataset 300w --data d --baseline b.params", 68, ""),
    ],
)
def test_what_a_random_start_lacks_of_the_papers_is_named(text, points, expected):
    advice = train_ffld.TRAINING.start_advice(context_of(*text.split(), num_landmarks=points))
    assert expected in advice
    assert bool(expected) == bool(advice)
