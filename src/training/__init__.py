"""The one training loop and what surrounds it: options, optimiser, devices, checkpoints, observers."""
