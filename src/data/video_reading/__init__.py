"""Captioned clips in files: finding them, their captions, and what is in them."""
