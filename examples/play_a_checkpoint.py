"""Play a trained policy in a loop of your own, and print the return of each episode.

python examples/play_a_checkpoint.py data/runs/quick/tmaze_table_2/rate-3/seed_0
"""

from __future__ import annotations

import sys

import memdt


def main(path: str, episodes: int = 5) -> list[float]:
    """Play some episodes of a run, a checkpoint or an exported folder."""
    policy = memdt.load(path)
    environment = policy.make_environment()  # or any other one of the same spaces
    returns = []
    for seed in range(episodes):
        policy.reset()
        observation, _ = environment.reset(seed=seed)
        reward, total, ended = 0.0, 0.0, False
        while not ended:
            action = policy.act(observation, reward)
            observation, reward, terminated, truncated, _ = environment.step(action)
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
        print(f"episode {seed}: return {total:g}")
    return returns


if __name__ == "__main__":
    main(sys.argv[1])
