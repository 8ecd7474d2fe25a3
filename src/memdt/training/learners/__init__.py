"""Learners, found by the name of their file; see ``training.learner`` for what one must offer."""
