"""What a training script is told, besides the recipe: typed, with the help text of each option beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from common import cli
from common.options import option, repeated, switch
from engine.distributed import KV_STORES

HOST, DEVICE = "host", "device"


@dataclass(frozen=True)
class TrainingSettings:
    """Options of every training script."""

    model: str = option("", "network to train")
    dataset: str | None = option(None, "data set (default: 300w with --data, else rendered faces)")
    data: str | None = option(None, "folder of the data set; rendered faces need none", metavar="DIR")
    out: str | None = option(None, "folder for weights, log, checkpoint and curves", metavar="RUN")
    resume: str | None = option(None, "continue this run with its own settings", metavar="RUN")
    more: tuple[str, ...] = repeated("train on this data set too, such as 300w=DIR; may be repeated", "NAME=DIR")
    init: str | None = option(None, "start from these weights instead of random ones", metavar="FILE")
    allow_missing: bool = switch("train on the part of the data set that is there")
    official_split: bool = switch("keep the training faces of 300-W whose photos are test photos too")
    rendered_count: int = option(2000, "number of rendered training faces", least=1)
    workers: int = option(os.cpu_count() or 1, "processes that prepare samples", least=0)
    cache: bool = switch("keep all photos in memory")
    patience: int = option(0, "stop after this many epochs without improvement; 0 never stops early", least=0)
    clip: float = option(0.0, "largest norm of the gradient per sample; 0 turns clipping off")
    validation_batch_size: int = option(
        16, "samples that validation runs at once; more take more memory", metavar="FACES", least=1
    )
    validate_every: int = option(1, "epochs between two validations", metavar="EPOCHS", least=1)
    amp: bool = switch("half precision where the processor supports it: float16 on GPUs, bfloat16 on CPUs")
    gpus: str | None = option(None, "GPU numbers such as 0,1, or none for the CPU (default: GPU 0 if there is one)")
    kv_store: str = option(
        KV_STORES[0],
        "device trains in this process; dist_sync or dist_device_sync with others that python -m tools.launch starts, "
        "gradients of one machine's GPUs summed on its CPU or on a GPU",
        choices=KV_STORES,
        metavar="STORE",
    )
    seed: int = option(0, "seed of all random numbers", most=cli.LARGEST_SEED)


@dataclass(frozen=True)
class LandmarkSettings(TrainingSettings):
    """Options of every training script of landmark networks."""

    dry_run: bool = switch(
        "print what the training would take (faces, steps, rates, memory, hours by ten measured steps), train nothing"
    )
    augment_on: str = option(
        HOST,
        "where colour, blur, noise and occluding boxes are added to crops: host, in the processes of --workers, or "
        "device, on the processors of --gpus, where those processes are too slow for them",
        choices=(HOST, DEVICE),
    )
    validate_on: str | None = option(
        None,
        "train on all training faces and validate on this subset, such as full, the region paper's, of 689 faces",
        metavar="SUBSET",
    )
    exclude: str | None = option(
        None, "leave out the faces of these photos: a text file with one name per line", metavar="FILE"
    )
