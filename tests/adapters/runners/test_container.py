"""Containers with a real engine: what only they can get wrong."""
