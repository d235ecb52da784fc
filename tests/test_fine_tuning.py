"""Starting from weights of another number of landmarks."""

import mxnet as mx
import numpy as np
import pytest

from datasets.conversions import CONVERSIONS, convert
from datasets.markups import IBUG_68, INSIGHTFACE_5
from gluon_models import get_model
from gluon_models.fine_tuning import fill_fitting, layers_of


def network(name, num_landmarks, seed):
    mx.random.seed(seed)
    net = get_model(name, num_landmarks=num_landmarks)
    net.initialize(mx.init.Xavier())
    channels, side = (1, 96) if name.startswith("lgcn") else (3, 224)
    net(mx.nd.zeros((1, channels, side, side)))
    return net


@pytest.mark.parametrize(("name", "new"), [("resnet18_slim", {"points"}), ("lgcn_64", None), ("ffld_resnet18", None)])
def test_all_that_fits_is_loaded_and_the_rest_stays_as_it_was(name, new, tmp_path):
    network(name, 68, 1).save_parameters(str(tmp_path / "68.params"))
    net, untouched, trained = network(name, 7, 2), network(name, 7, 2), network(name, 68, 1)
    lacking = fill_fitting(net, tmp_path / "68.params")
    if new:
        assert {each.rpartition(".")[0] for each in lacking} == new
    assert 0 < len(lacking) < len(net._collect_params_with_prefix())
    values, before, source = (each._collect_params_with_prefix() for each in (net, untouched, trained))
    for each, parameter in values.items():
        expected = (before if each in lacking else source)[each].data().asnumpy()
        np.testing.assert_array_equal(parameter.data().asnumpy(), expected)


def test_a_known_conversion_of_points_is_that_of_the_last_layer(tmp_path):
    """Five points of 68: from the start, the network predicts what the conversion makes of the old one's points."""
    trained = network("resnet18_slim", 68, 1)
    trained.save_parameters(str(tmp_path / "68.params"))
    net = network("resnet18_slim", 5, 2)
    sources = CONVERSIONS[IBUG_68.name, INSIGHTFACE_5.name]
    assert fill_fitting(net, tmp_path / "68.params", sources=sources) == []
    faces = mx.nd.random.uniform(-1, 1, (2, 3, 224, 224))
    expected = convert(trained(faces).asnumpy().reshape(2, 68, 2), IBUG_68, INSIGHTFACE_5)
    np.testing.assert_allclose(net(faces).asnumpy().reshape(2, 5, 2), expected, atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path):
    network("resnet18_slim", 68, 1).save_parameters(str(tmp_path / "other.params"))
    with pytest.raises(ValueError, match=r"other\.params belongs to another network: \d+ % .* fit"):
        fill_fitting(network("lgcn_64", 5, 1), tmp_path / "other.params")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        fill_fitting(network("resnet18_slim", 5, 1), tmp_path / "none.params")


def test_layers_in_words():
    assert layers_of(["a.b.weight", "a.b.bias", "c.weight"]) == "a.b, c"
    assert layers_of([f"l{k}.weight" for k in range(6)]) == "l0, l1, l2, l3 and 2 more"
