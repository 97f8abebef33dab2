"""Monitors: small classes that look into a training while it runs and say numbers; each file is about one thing."""
