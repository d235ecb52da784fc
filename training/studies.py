"""The papers' ablation studies: what each compares, by which training runs, beside the figures that are printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell of a published table: the options it adds to the command, and its printed figure in the study's unit."""

    name: str
    options: str
    published: float | None = None


@dataclass(frozen=True)
class Measure:
    """The number that a study compares: its key in the log, its name, its unit, and the factor to that unit."""

    key: str
    text: str
    unit: str
    factor: float


NME = Measure("nme", "validation NME, inter-ocular", "%", 100.0)
MSE = Measure("mse", "validation loss, the mean squared error", "px²", 1.0)


@dataclass(frozen=True)
class Study:
    """An ablation study.

    Attributes:
        title: what is compared, and the place in the paper.
        published_on: faces that the printed figures were measured on.
        command: script and options of every run.
        cells: the variants.
        measure: the number that is compared.
    """

    title: str
    published_on: str
    command: str
    cells: tuple[Cell, ...]
    measure: Measure = NME


_FFLD_BUDGET = "--epochs 4 --validate-every 4 --average-decay 0.98"
_FFLD_START = "--init weights/ffld_resnet18_rendered.params --baseline weights/resnet18_slim.params"
_FFLD = f"train_ffld.py --model ffld_resnet18 --recipe cpu {_FFLD_START} {_FFLD_BUDGET}"
_BASELINE = "train_ffld.py --model resnet18_slim --recipe cpu --epochs 8 --validate-every 8 --average-decay 0.98"
_BEST = "--loss normalized_l2/l2/l1/align"
_HOURGLASS = "train_hourglass.py --recipe cpu --stacks 2 --channels 128 --frozen-stages 3 --epochs 3"
# As many cells per heatmap as the paper's network has, 32 x 32, since a mean over them is compared with their sum.
_HOURGLASS_SMALL = "--size 128 --backbone-stride 4 --stacks 1 --channels 64 --batch-size 4 --epochs 6"
_HOURGLASS_PAPER = f"train_hourglass.py --recipe paper {_HOURGLASS_SMALL}"
_DECAYS = (
    Cell("mean over cells, all decay", "--loss mean --wd-all on"),
    Cell("mean over cells, weights decay", "--loss mean --wd-all off"),
    Cell("sum over cells, all decay", "--loss sum --wd-all on"),
    Cell("sum over cells, weights decay", "--loss sum --wd-all off"),
)
_REGIONS = "train_regions.py --model region_direct --epochs 4 --validate-every 4"
_LGCN = "train_lgcn.py --model lgcn_64 --filters 16 --size 48 --recipe cpu --epochs 4 --validate-every 4"
_DEEPPOSE_BUDGET = "--samples 1700 --lr 3e-4 --schedule cosine --epochs 12"
_DEEPPOSE = f"train_deeppose.py --init weights/deeppose_resnet18.params {_DEEPPOSE_BUDGET}"
_UNCHANGED = "--rotation-degrees 0 --shear-fraction 0 --flip-probability 0 --brightness-fraction 0"
STUDIES = {
    "ffld_losses": Study(
        "losses and number of refinement stages (FFLD, Table 5)",
        "300-W full, inter-ocular",
        _FFLD,
        (
            Cell("L2/L2", "--loss normalized_l2/l2/l2", 3.85),
            Cell("L2/L1", "--loss normalized_l2/l2/l1", 3.77),
            Cell("L2/L2/L2", "--loss normalized_l2/l2/l2/l2", 3.81),
            Cell("L1/L1/L1", "--loss normalized_l2/l1/l1/l1", 3.76),
            Cell("AL/AL/AL", "--loss normalized_l2/align/align/align", 3.95),
            Cell("L2/L1/AL", _BEST, 3.66),
            # The heading of the column that prints 3.72 is lost; these are what it may have been.
            Cell("L2/L1/L1", "--loss normalized_l2/l2/l1/l1", 3.72),
            Cell("L2/L2/L1", "--loss normalized_l2/l2/l2/l1", 3.72),
            Cell("cpu recipe: Eq. 1 with L1", ""),
        ),
    ),
    "ffld_norm": Study(
        "Eq. 1 against plain L2 for the baseline (FFLD, Sec. 6.4)",
        "300-W full, inter-ocular",
        _BASELINE,
        (Cell("L2 over the inter-ocular distance, Eq. 1", "--loss normalized_l2", 4.98), Cell("L2", "--loss l2", 5.14)),
    ),
    "ffld_gradients": Study(
        "gradients from the refinements to the baseline (FFLD, Table 6)",
        "300-W full, inter-ocular",
        _FFLD,
        (
            Cell("neither", f"{_BEST} --map-gradient off --location-gradient off", 3.78),
            Cell("crop location", f"{_BEST} --map-gradient off", 3.74),
            Cell("low level", f"{_BEST} --location-gradient off", 3.69),
            Cell("both", _BEST, 3.66),
        ),
    ),
    # Needs --backbone-weights, as the backbone is not trained. With weight decay, lambda would fall by itself.
    "hourglass": Study(
        "blocks and branches of 2 stacks of 128 channels (modified stacked hourglass, Sec. 3)",
        "none is printed",
        _HOURGLASS,
        (
            Cell("lambda-residual block, 1x1 branch", "--block lambda --skip conv"),
            Cell("lambda kept at 1, 1x1 branch", "--block lambda_fixed --skip conv"),
            Cell("original block, 1x1 branch", "--block original --skip conv"),
            Cell("lambda-residual block, residual branch", "--block lambda --skip residual"),
        ),
    ),
    "hourglass_decay": Study(
        "weight decay and loss at the paper's rate (modified stacked hourglass, Sec. 4.1, H15 and H18)",
        "none is printed",
        _HOURGLASS_PAPER,
        _DECAYS,
    ),
    # Needs --backbone-weights.
    "hourglass_decay_imagenet": Study(
        "the same on a backbone with ImageNet's weights (H25)", "none is printed", _HOURGLASS_PAPER, _DECAYS
    ),
    "lgcn_loss": Study(
        "loss of the heatmaps at 16 filters (LGCN, Sec. 3.2.4)",
        "none is printed",
        _LGCN,
        (
            Cell("squares, as the authors train it", "--loss square"),
            Cell("squares, Eq. 4 as printed", "--loss square_eq4"),
            Cell("cross entropy with a background", "--loss cross_entropy"),
        ),
    ),
    "lgcn_colour": Study(
        "colours of the input at 16 filters (LGCN, Sec. 3.1)",
        "none is printed",
        _LGCN,
        (Cell("gray", ""), Cell("RGB", "--colour rgb"), Cell("HSV", "--colour hsv")),
    ),
    "lgcn_kernel": Study(
        "kernel convolution and global context at 16 filters (LGCN, Sec. 3.2)",
        "none is printed",
        _LGCN,
        (
            Cell("all of the network", ""),
            Cell("kernel in the labels alone", "--kernel labels"),
            Cell("no kernel", "--kernel none"),
            Cell("no side branch", "--side-branch off"),
            Cell("local context and kernel", "--side-branch off --global-context off"),
            Cell("local context alone", "--kernel none --side-branch off --global-context off"),
        ),
    ),
    "region_dense_layers": Study(
        "number of dense layers (Region ResNets, Fig. 5a)",
        "curves alone are printed",
        _REGIONS,
        (Cell("1", ""), Cell("2", "--dense-layers 2"), Cell("3", "--dense-layers 3")),
    ),
    "region_optimizer": Study(
        "optimizer (Region ResNets, Fig. 5b)",
        "curves alone are printed",
        _REGIONS,
        (Cell("Adam", ""), Cell("SGD", "--optimizer sgd"), Cell("RMSProp", "--optimizer rmsprop")),
    ),
    "region_batch_size": Study(
        "batch size (Region ResNets, Fig. 5c)",
        "curves alone are printed",
        _REGIONS,
        tuple(Cell(str(size), "" if size == 16 else f"--batch-size {size}") for size in (16, 32, 64, 128, 256)),
    ),
    "region_augmentation": Study(
        "augmentation (Region ResNets, Fig. 5d)",
        "curves alone are printed",
        _REGIONS,
        (Cell("as in Sec. 5.2", ""), Cell("none", _UNCHANGED)),
    ),
    "region_blocks": Study(
        "number of residual blocks (Region ResNets, Sec. 5.2)",
        "none is printed",
        _REGIONS,
        (Cell("3", ""), Cell("2", "--blocks 2"), Cell("1", "--blocks 1")),
    ),
    "region_dropout": Study(
        "dropout (Region ResNets, Sec. 5.2)",
        "none is printed",
        _REGIONS,
        (Cell("0.5", ""), Cell("0.25", "--dropout 0.25"), Cell("0", "--dropout 0")),
    ),
    # Needs resnet50_v1.params, see "Weights to start from" in docs/reproduce.md.
    "region_stem": Study(
        "first convolution (Region ResNets, Sec. 5.2)",
        "none is printed",
        _REGIONS,
        (Cell("random", ""), Cell("ImageNet's", "--imagenet resnet50_v1.params")),
    ),
    # Needs --init with weights of region_direct, which both cells share.
    "region_jaw": Study(
        "who places the jaw (Region ResNets, Sec. 5.2)",
        "none is printed",
        "train_regions.py --model region_parts --epochs 4 --validate-every 4",
        (Cell("the direct network", ""), Cell("a network of its own", "--jaw-network on")),
    ),
    "deeppose_split": Study(
        "validation faces held out before or after augmenting (DeepPose, Sec. III)",
        "losses of 8.00 on validation and 27.84 on test faces",
        _DEEPPOSE,
        (Cell("before", "--split before"), Cell("after: copies of a face may be in both", "--split after")),
        MSE,
    ),
}
