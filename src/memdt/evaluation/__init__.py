"""Evaluation: rollouts of trained policies, and what is measured and recorded in them."""
