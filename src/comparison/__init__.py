"""Honest comparison: every run on every test window, beside persistence."""
