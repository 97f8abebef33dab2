"""Data sets: what a model must know of them, how they are read, split, scaled and cut into windows."""
