"""Metrics as pure functions and running sums; nothing here knows models, runs or TensorBoard."""
