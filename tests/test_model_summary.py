"""The summary of a network: counts by hand, sums that agree with the network's own parameters, and the command."""

import mxnet as mx
import pytest
from mxnet.gluon import nn

from gluon_models import get_model, get_spec, list_models
from gluon_models.__main__ import Row, main, summarize
from gluon_models.blocks import parameter_count


class Products(nn.HybridBlock):
    """One of each operation that is counted, and some that are not."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.grouped = nn.Conv2D(8, 3, 2, 1, groups=4)
            self.norm = nn.BatchNorm()
            self.dense = nn.Dense(5)
            self.fixed = self.params.get("fixed", shape=(8, 7), grad_req="null")
            self.shared = self.params.get("shared", shape=(3, 64))

    def hybrid_forward(self, F, x, fixed, shared):
        maps = F.relu(self.norm(self.grouped(x)))
        flat = F.reshape(maps, (0, 8, -1))
        products = F.batch_dot(flat, flat, transpose_b=True)
        squares = F.batch_dot(flat, flat, transpose_a=True)
        rows = F.dot(F.reshape(maps, (-1, 16)), F.reshape(shared, (16, 12)))
        weighted = F.dot(F.reshape(products, (-1, 8)), fixed)
        return self.dense(maps), squares, rows, weighted


def test_every_kind_of_product_by_hand():
    net = Products()
    rows = summarize(net, (1, 4, 8, 8), depth=1)
    # 8x8 crops give maps of 4x4; each output channel of the grouped convolution sees 1 of the 4 input channels.
    own = 8 * 8 * 16 + 16 * 16 * 8 + 8 * 12 * 16 + 8 * 7 * 8
    assert sorted(rows) == sorted(
        [
            Row("grouped", 8 * 1 * 9 + 8, 8 * 4 * 4 * 9),
            Row("norm", 16, 0),
            Row("dense", 128 * 5 + 5, 128 * 5),
            Row("Products", 3 * 64, own),
        ]
    )


@pytest.mark.parametrize("name", list_models())
def test_all_parameters_are_counted_once(name):
    net, spec = get_model(name, num_landmarks=19), get_spec(name)
    shape = (1, len(spec.mean), spec.size, spec.size)
    rows, total = summarize(net, shape, depth=9), summarize(net, shape, depth=1)
    net.initialize()
    net(mx.nd.zeros(shape))
    assert sum(row.parameters for row in rows) == parameter_count(net)
    assert len({row.part for row in rows}) == len(rows)
    assert len(rows) > len(total)
    for column in (1, 2):
        assert sum(row[column] for row in rows) == sum(row[column] for row in total)


def test_multiply_adds_of_the_slim_resnet_by_hand():
    rows = summarize(get_model("resnet18_slim"), (1, 3, 224, 224), depth=2)
    found = {row.part: row.multiply_adds for row in rows}
    assert found["stem.0"] == 112 * 112 * 16 * 3 * 49
    assert found["stages.0"] == 56 * 56 * 4 * (16 * 16 * 9)
    assert found["stages.1"] == 28 * 28 * (16 * 32 * 9 + 3 * 32 * 32 * 9 + 16 * 32)
    assert found["points"] == 128 * 136


def test_multiply_adds_of_the_hourglass_by_hand():
    rows = summarize(get_model("hourglass_resnet50"), (1, 3, 256, 256), depth=3)
    found = {row.part: row.multiply_adds for row in rows}
    # A block at one cell: 1x1 to 64, 3x3, 1x1 back, the branch, and lambda; at each level two blocks at half the size
    # and a 1x1 convolution at full size; one block at the bottom; after the hourglass a block, a convolution, the maps.
    block = 256 * 64 + 9 * 64 * 64 + 64 * 256 + 256 * 256 + 256
    cells = [32 * 32, 16 * 16, 8 * 8, 4 * 4, 2 * 2]
    hourglass = 2 * sum(cells[1:]) * block + sum(cells[:-1]) * 256 * 256 + cells[-1] * block
    stack = hourglass + cells[0] * (block + 256 * 256 + 256 * 68)
    for index in range(4):
        assert found[f"cascade.stacks.{index}"] == stack
    for index in range(3):
        assert found[f"cascade.merges.{index}"] == cells[0] * (256 * 256 + 68 * 256)
    assert "cascade.merges.3" not in found
    # conv1 and conv2_x of ResNet-50; the model zoo's 3.8 to 4.1 billion are for all of it at 224 pixels.
    assert found["cascade.backbone.0"] == 128 * 128 * 64 * 3 * 49
    narrow = 9 * 64 * 64 + 64 * 256
    assert found["cascade.backbone.4"] == 64 * 64 * (64 * 64 + narrow + 64 * 256 + 2 * (256 * 64 + narrow))


def test_ffld_counts_what_its_crops_multiply():
    rows = summarize(get_model("ffld_resnet18", num_landmarks=19), (1, 3, 224, 224), depth=9)
    crops = [row for row in rows if row.part.endswith("crop")]
    # For each landmark: 9 x 9 cells times channels times 4 selected, then rows and columns by Eq. 5's weights.
    weights = 8 * 9 * 9 * 4 + 4 * 8 * 9 * 8
    assert [row.multiply_adds for row in crops] == [19 * (81 * 4 * channels + weights) for channels in (32, 16, 16)]
    assert [row.parameters for row in crops] == [19 * 4 * channels for channels in (32, 16, 16)]


def test_the_command_prints_the_table(capsys):
    assert main(["resnet18_slim", "--num-landmarks", "19", "--depth", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "resnet18_slim, 19 landmarks, one face of 224 x 224 pixels"
    assert lines[-1].split()[:2] == ["total", "706,998"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["resnet19_slim"], "unknown model 'resnet19_slim'"),
        (["hourglass_resnet50", "--size", "100"], "--size 100: hourglass_resnet50 takes no such face"),
    ],
)
def test_the_command_refuses_in_one_line(refused, text, message):
    refused(lambda: main(text), message)


def test_the_crop_that_ships_is_counted(capsys):
    main(["lgcn_64", "--depth", "1"])
    assert "one face of 48 x 48 pixels" in capsys.readouterr().out
    main(["lgcn_64", "--depth", "1", "--size", "96"])
    assert "11,270,946,816" in capsys.readouterr().out
