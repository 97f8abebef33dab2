"""Hyperparameter search in three phases: random, Bayesian, fine-tuning."""
