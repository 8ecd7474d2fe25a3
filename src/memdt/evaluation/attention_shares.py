"""How much read and write tokens are looked at, as a few numbers of a run.

RATE appendix C reads the roles of memory tokens off pictures; here the same attention is summed, in
the first evaluation episode of the trained length, over layers, heads and the segments that have a
memory to read (all but the first). Which tokens a read token may see is fixed by the mask, so only
write tokens and steps say anything.

    write_on_steps        of the attention of write tokens, what the steps of the segment get
    write_on_read         and what the memory that is read gets
    write_on_last_quarter of what they give the steps, the part of the last quarter of these
    steps_on_read_gain    of the attention of steps, what the memory that is read gets, less what it
                          would get if a step looked at all it may see alike
    steps_on_read_least_gain  the same for the quarter of the steps in which it is least
    steps_on_read_least_layer_gain  the same for the layer in which it is least, over all steps
    write_entropy         how evenly a write token looks over all it may see, in each head: 0 where
                          it looks at one token, 1 where it looks at all alike
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from memdt.data.segments import Segment
from memdt.evaluation.attention_maps import attention_of, play_episode
from memdt.evaluation.episode_table import ATTENTION
from memdt.models.interface import AttentionMaps, Policy, SequencePolicy
from memdt.settings.schema import RunSettings


def attention_shares(settings: RunSettings, policy: Policy, seed: int) -> dict[str, float]:
    """The numbers by their names; 0 for a policy without attention or without memory tokens."""
    nothing = dict.fromkeys(ATTENTION, 0.0)
    if not isinstance(policy, SequencePolicy) or settings.training.segments < 2:
        return nothing
    segments = play_episode(settings, policy, seed)
    maps = attention_of(policy, segments)
    if len(maps) < 2 or not maps[0].memory_tokens:
        return nothing
    shares = [shares_of(*pair) for pair in zip(maps[1:], segments[1:], strict=True)]
    return dict(zip(ATTENTION, np.mean(shares, axis=0).tolist(), strict=True))


def shares_of(one: AttentionMaps, segment: Segment) -> tuple[float, ...]:
    """The numbers of one segment of one episode, in the order of ATTENTION."""
    each = one.weights[0].float()  # layers, heads, queries, keys
    weights = each.mean(dim=(0, 1))
    memory, steps = one.memory_tokens, 3 * segment.steps
    real = 3 * int(segment.mask[0].sum())
    cache = weights.shape[1] - weights.shape[0]
    first, late = cache + memory, 3 * (real // 12)
    written = weights[memory + steps :]
    on_read = each[:, :, memory : memory + real, cache:first].sum(dim=3).mean(dim=1)
    by_layer = on_read - _uniform_share(memory, cache, real)
    gain = by_layer.mean(dim=0)
    gains = (
        float(gain.mean()),
        min(float(part.mean()) for part in gain.tensor_split(min(4, real))),
        float(by_layer.mean(dim=1).min()),
    )
    if not len(written):
        return 0.0, 0.0, 0.0, *gains, 0.0
    parts = (
        slice(first, first + real),
        slice(cache, first),
        slice(first + real - late, first + real),
    )
    on_steps, on_memory, on_late = (float(written[:, part].sum(dim=1).mean()) for part in parts)
    late_share = on_late / on_steps if on_steps else 0.0
    return on_steps, on_memory, late_share, *gains, _evenness(each[:, :, memory + steps :])


def _evenness(weights: Float[Tensor, "layers heads queries keys"]) -> float:
    """Entropy of each distribution over keys against that of a uniform one, the mean of all."""
    seen = (weights > 0).sum(dim=3).clamp(min=2)  # keys that the mask hides have no weight
    return float((torch.special.entr(weights).sum(dim=3) / seen.log()).mean())


def _uniform_share(memory: int, cache: int, real: int) -> Float[Tensor, " steps"]:
    """What memory that is read gets from a step that attends uniformly to all it sees."""
    return memory / (cache + memory + 1 + torch.arange(real))
