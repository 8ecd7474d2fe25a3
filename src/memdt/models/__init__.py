"""Policies, each registered by the name of its file. ``interface`` says what a model implements.

``parts`` holds what several models share.
"""

INFRASTRUCTURE = ("interface", "building")
