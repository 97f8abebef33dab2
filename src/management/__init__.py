"""Keeping house: runs on disk listed, compared, archived, deleted and trained again, and the environment checked."""
