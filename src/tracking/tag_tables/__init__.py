"""The tags, a table for each part of the program that writes them; ``tracking/tags.py`` joins them."""
