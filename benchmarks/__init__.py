"""How fast and how small: the project's own measurements, for anyone to run.

python -m benchmarks                     all of them, about a minute and a half
python -m benchmarks training rollout    some of them
python -m benchmarks --long              with episodes of 100,000 steps
"""
