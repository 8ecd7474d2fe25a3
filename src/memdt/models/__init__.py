"""Policies, found by the name of their file; see ``interface`` for what a model must offer.

What several models share lies in ``parts``.
"""

INFRASTRUCTURE = ("interface", "building")
