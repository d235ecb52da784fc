"""The figures of the two ResNet studies: the numbers they show by hand, and every command with untrained networks."""

import json

import mxnet as mx
import numpy as np
import pytest

import untrained
from datasets.images import read_image
from datasets.markups import IBUG_68
from datasets.render.faces import RenderedFaces
from figures import deeppose, region_resnet
from figures.inputs import Sample, extreme_pictures
from figures.networks import TrainedNetwork
from gluon_models.regions.bound import TrueBoxes

FACES = ["--count", "2", "--gpus", "none"]


def save_random(path, model, **settings):
    untrained.save_random(path, model, **settings)
    return str(path)


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    """Weights of the three models, of few channels."""
    folder = tmp_path_factory.mktemp("weights")
    return [save_random(folder / f"{model}.params", model, channels=[8, 8, 8]) for model in region_resnet.MODELS]


def sample_of(count, seed=0):
    """Faces whose crops are grey, with points drawn at random and an eye distance of 50 pixels."""
    truth = np.random.RandomState(seed).uniform(40, 180, (count, 68, 2))
    crops = np.full((count, 224, 224, 3), 128, np.uint8)
    lengths = np.full(count, 50.0)
    return Sample(RenderedFaces(count), np.arange(count), "t", crops, np.zeros((count, 2, 3)), truth, lengths, "unit")


def test_worst_and_best_faces_in_their_order():
    sample = sample_of(5)
    errors = np.array([3.0, 1.0, 5.0, 2.0, 4.0])
    predicted = sample.truth_crop + errors[:, None, None] * [0.6, 0.8]
    numbers, worst, best = extreme_pictures(sample, predicted, errors**2, 2)
    assert numbers.tolist() == [2, 4, 1, 3]
    assert [picture.error for picture in [*worst, *best]] == pytest.approx([0.1, 0.08, 0.02, 0.04])
    assert best[0].name == sample.faces.names[1]
    numbers, _, _ = extreme_pictures(sample, predicted, np.where(errors == 5, np.nan, errors), 2)
    assert numbers.tolist() == [4, 0, 1, 3]  # a face without a known landmark is none of them


def test_squared_errors_are_means_over_coordinates():
    truth = np.zeros((2, 3, 2))
    truth[1, 2] = np.nan
    predicted = truth + np.array([[[1, 2], [0, 0], [3, 0]], [[0, 4], [2, 0], [9, 9]]])
    np.testing.assert_allclose(deeppose.squared_errors(predicted, truth), [14 / 6, 20 / 4])


def test_errors_without_the_jaw_are_those_of_51_points(regions):
    network = TrainedNetwork(regions[0], region_resnet.MODELS, mx.cpu())
    assert region_resnet.jaw_of(network) == IBUG_68.regions["jaw"]
    sample = sample_of(2)
    predicted = sample.truth_crop.copy()
    predicted[:, :17] += 100
    predicted[:, 17:] += (3, 4)
    kept = [k for k in range(68) if k not in region_resnet.jaw_of(network)]
    np.testing.assert_allclose(region_resnet.errors_of(sample, predicted, kept), 0.1)


def test_the_bound_knows_the_boxes(regions):
    network = TrainedNetwork(regions[1], region_resnet.MODELS, mx.cpu())
    sample = sample_of(2)
    truth = mx.nd.array((sample.truth_crop + 0.5) / 224)
    expected = TrueBoxes(network.net)(mx.nd.full((2, 3, 224, 224), 128 / 255), truth).asnumpy() * 224 - 0.5
    crops, context = (sample.crops, sample.truth_crop), mx.cpu()
    found = region_resnet.predict_with_true_boxes(network.net, network.spec, *crops, context)
    np.testing.assert_allclose(found, expected, atol=1e-2)


@pytest.mark.parametrize("text", [["ced", "--points", "51"], ["faces", "--show", "2"]])
def test_the_region_figures_are_drawn(regions, tmp_path, text):
    out = tmp_path / "new" / "picture.png"
    assert region_resnet.COMMANDS.main([*text, "--weights", *regions, *FACES, "--out", str(out)]) == 0
    assert read_image(out).std() > 10


def test_two_networks_of_one_model_are_two_curves(regions, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(region_resnet, "draw_networks", lambda curves, *_: shown.extend(curves) or b"")
    text = ["--weights", regions[0], regions[0], *FACES, "--out", str(tmp_path / "picture.png")]
    with pytest.raises(ValueError, match="give each a name of its own with --labels"):
        region_resnet.COMMANDS.main(["ced", *text])
    region_resnet.COMMANDS.main(["ced", *text, "--labels", "one", "other"])
    assert shown == ["one", "other"]


def test_the_deeppose_figures_are_drawn(tmp_path):
    weights = save_random(tmp_path / "net.params", "deeppose_resnet18")
    for text in (["histogram"], ["faces", "--show", "1"], ["saliency", "--show", "1"]):
        out = tmp_path / f"{text[0]}.png"
        assert deeppose.COMMANDS.main([*text, "--weights", weights, *FACES, "--out", str(out)]) == 0
        assert read_image(out).std() > 10


def test_the_losses_of_a_run_are_drawn(tmp_path):
    lines = [{"epoch": 1, "loss": 9.0, "mse": 30.0}, {"epoch": 2, "loss": 5.0}, {"epoch": 3, "loss": 4.0, "mse": 20.0}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    deeppose.COMMANDS.main(["losses", "--run", str(tmp_path), "--out", str(tmp_path / "losses.png"), "--gpus", "none"])
    assert read_image(tmp_path / "losses.png").std() > 10


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        (deeppose, ["losses", "--run", "nowhere", "--out", "a.png"], "--run takes the folder of a training run"),
        (deeppose, ["faces", "--weights", "{direct}", "--out", "a.png"], "this figure needs deeppose_resnet18"),
    ],
)
def test_bad_input_is_one_line_and_code_2(regions, refused, module, text, message):
    text = [word.replace("{direct}", regions[0]) for word in text]
    refused(lambda: module.COMMANDS.main([*text, "--gpus", "none"]), message)
