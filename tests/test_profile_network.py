"""Where a prediction's time goes: the profiler's figures by hand, and the operators of a network that ships."""

import json

import mxnet as mx

from datasets.workers import run_alone
from gluon_models import get_model
from inference.fused import fuse
from tools.profile_network import OperatorTime, describe, operator_times, profile_shipped


def test_figures_are_of_one_prediction():
    operators = {
        "Pooling": {"Count": 8, "Total": 2.0},
        "_sg_mkldnn_conv": {"Count": 80, "Total": 6.0},
        "WaitForVar": {"Count": 4, "Total": 7.5},
    }
    times = operator_times({"Time": {"operator": operators, "MXNET_C_API": {}}}, repeats=4)
    assert times == [OperatorTime("fused convolution", 20, 1.5), OperatorTime("Pooling", 2, 0.5)]
    assert describe(times).splitlines()[1:] == [
        "fused convolution                20     1.500   75.0%",
        "Pooling                           2     0.500   25.0%",
        "all                              22     2.000  100.0%",
    ]


def test_every_operator_of_the_fused_network_is_timed():
    nodes = json.loads(fuse(get_model("resnet18_slim")(mx.sym.var("data"))).tojson())["nodes"]
    convolutions = sum(node["op"] == "_sg_mkldnn_conv" for node in nodes)
    times = {each.name: each for each in run_alone(profile_shipped, "resnet18_slim", 9, 2, "none")}
    assert times["fused convolution"].calls == 2 * convolutions  # eight faces, then one
    assert times["Pooling"].calls == 2 * 2
    assert all(each.milliseconds > 0 for each in times.values())
