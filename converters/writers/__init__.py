"""Graphs to native objects: one folder a framework."""
