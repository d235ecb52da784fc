"""How a network is trained: loop, schedule, checkpoints, run record, devices, command line."""

import common  # noqa: F401 - first: Ctrl-C while the others are imported shows no traceback
