"""The agent that collects a dataset: its settings and the names of its files.

An agent is trained once for all datasets of an environment (``training/online/agent.py``). It
leaves its experience up to the medium checkpoint, and two policies: the medium one and its best
one. The kinds of datasets made from these are D4RL's: replay, medium, expert. Source: Fu et al.
2020; Deviation D101.
"""

from __future__ import annotations

from pydantic import Field

from memdt.settings.schema import Frozen

REPLAY = "replay.h5"  # its episodes up to the medium checkpoint, as a dataset
ACTORS = "actors.safetensors"  # the policies `medium` and `expert`
FILES = (REPLAY, ACTORS)  # what an agent leaves in its folder
# Environment seeds of its episodes. No evaluation of a model plays them: those count up from 0.
FIRST_SEED = 2_000_000_000  # of the episodes in which it learns
EVALUATION_SEED = 1_900_000_000  # of the episodes in which it is evaluated


class AgentSettings(Frozen):
    """Settings of TD3, by default those of its authors' code (Deviation D102).

    Source: Fujimoto et al. 2018, with hidden layers of 256 and batches of 100.
    """

    steps: int = Field(default=1_000_000, gt=0, description="environment steps that it learns from")
    medium_score: float = Field(
        description="normalised score at which it counts as medium; the closest evaluation up to "
        "the first that reaches it is taken"
    )
    random_steps: int = Field(default=10_000, ge=0, description="steps of uniform actions at first")
    batch_size: int = Field(default=100, gt=0, description="transitions of an update")
    width: int = Field(default=256, gt=0, description="of both hidden layers")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam, actor and critics alike")
    discount: float = Field(default=0.99, gt=0, le=1, description="of what is earned a step later")
    target_rate: float = Field(default=0.005, gt=0, le=1, description="at which targets follow")
    exploration_noise: float = Field(
        default=0.1,
        ge=0,
        description="deviation of the noise on its actions; episodes of its "
        "checkpoints have the same",
    )
    target_noise: float = Field(default=0.2, ge=0, description="deviation, on target actions")
    target_noise_clip: float = Field(default=0.5, ge=0, description="largest of that noise")
    actor_delay: int = Field(default=2, gt=0, description="updates of the critics for one of it")
    evaluate_every: int = Field(default=5000, gt=0, description="steps between two evaluations")
    evaluation_episodes: int = Field(default=10, gt=0, description="episodes of an evaluation")
    seed: int = Field(default=0, ge=0, description="of weights, noise and batches")
