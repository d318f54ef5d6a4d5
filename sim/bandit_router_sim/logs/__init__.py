"""Logs: what they hold in memory, and how they are read, checked and converted."""
