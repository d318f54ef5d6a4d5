"""Yardsticks that no router could be: they know outcomes of every arm. Simulator only, never served."""
