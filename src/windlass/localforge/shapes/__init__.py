"""GitHub's JSON shapes, for REST answers and webhook payloads alike.

One shape per noun serves both, so a field means the same wherever it shows. Shapes read the world and never change it.
"""
