"""Commands beside the scripts at the top: python -m tools.NAME."""

from common import cli  # noqa: F401 - first: Ctrl-C while the others are imported shows no traceback
