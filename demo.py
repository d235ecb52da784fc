"""A demonstration on this machine: landmarks on a photo, an evaluation on rendered faces, an exported network."""

from __future__ import annotations

from common import cli  # first: Ctrl-C while the others are imported shows no traceback

# isort: split
import shutil
from pathlib import Path
from typing import Sequence

from matplotlib import cbook

import evaluate
import export
import predict

MODEL = "ffld_resnet18"
RENDERED_FACES = 200
RESULTS = ("photo", "evaluation", "export")  # what an earlier demo left, and this one may empty


def main(argv: Sequence[str] | None = None) -> int:
    """Writes everything below --out and ends by naming the files to open."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("--out", metavar="DIR", type=cli.path, default="demo", help="output folder; emptied first")
    out = Path(parser.parse_args(argv).out)
    others = sorted(path.name for path in out.iterdir() if path.name not in RESULTS) if out.is_dir() else []
    if others:
        raise ValueError(f"--out {out} holds {others[0]}, which is none of the demo's: name another folder")
    shutil.rmtree(out, ignore_errors=True)
    cli.output_folder(out)

    print("1. Landmarks on matplotlib's photo of Grace Hopper (public domain)")
    photo = Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    predict.main([str(photo), "--model", MODEL, "--out", str(out / "photo")])
    print(f"\n2. The same network on {RENDERED_FACES} rendered faces, whose landmarks are exact")
    evaluate.main(["--model", MODEL, "--count", str(RENDERED_FACES), "--out", str(out / "evaluation")])
    print("\n3. The network as symbol, params and ONNX, read back and compared")
    export.main(["--model", MODEL, "--out", str(out / "export" / MODEL), "--onnx"])

    print("\nNow open:")
    for path in ("photo/grace_hopper.png", "evaluation/report.html", "evaluation/faces.png"):
        print(f"  {out / path}")
    return 0


if __name__ == "__main__":
    cli.run(main)
