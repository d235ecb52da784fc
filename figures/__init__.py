"""The papers' figures, drawn from networks trained here: one file per paper, one command per figure."""

from common import cli  # noqa: F401 - first: Ctrl-C while the others are imported shows no traceback
