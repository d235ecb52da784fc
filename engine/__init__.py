"""How a network is trained: loop, schedule, checkpoints, run record, devices, command line."""
