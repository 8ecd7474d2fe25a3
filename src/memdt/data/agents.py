"""The agent that a dataset may be made with: how it learns, and where its files lie.

It is trained once for all datasets of an environment (``training/online``): its whole experience up
to a medium level, and its policy there and at its best.
"""

from __future__ import annotations

from pydantic import Field

from memdt.settings.schema import Frozen

REPLAY = "replay.h5"  # episodes up to the medium checkpoint, as a dataset
ACTORS = "actors.safetensors"  # the policies `medium` and `expert`
FILES = (REPLAY, ACTORS)  # what an agent leaves in its folder
FIRST_SEED = 2_000_000_000  # of the episodes in which it learns
EVALUATION_SEED = 1_900_000_000  # of those in which it is evaluated


class AgentSettings(Frozen):
    """TD3 as in Fujimoto et al. 2018, with hidden layers of 256 (Deviation D102)."""

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
