"""Weightless graphs and rename tables: data, and make.py, which makes them."""
