"""Learners, found by the names of their files. ``training.learner`` defines their interface."""
