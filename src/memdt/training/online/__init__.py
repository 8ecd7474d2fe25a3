"""Agents that learn by playing, to make datasets of: ``agent.py`` is the step behind ``agent``."""
