"""Which parameters of a policy a stage trains: all, some of them by name, or adapters alone.

    training.trainable: ["*"]        everything (full fine-tuning)
    training.trainable: [prompt.*]   these parameters; the others are frozen
    training.adapter: {layers: ...}  LoRA beside these layers; everything else is frozen

Adapters are merged at the end of a stage, so every checkpoint holds an ordinary policy.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from memdt.errors import UserError, closest
from memdt.models.parts.adapters import Trainable, adapt, trainable
from memdt.settings.schema import TrainingSettings


def freeze(policy: nn.Module, training: TrainingSettings) -> Trainable:
    """Freeze the parameters that the settings do not train, and return the numbers of parameters.

    Adapters are drawn from torch's generator. Raises UserError if a pattern matches nothing.
    """
    patterns = training.trainable
    if training.adapter is not None:
        adapt(policy, training.adapter)
    elif patterns != ("*",):  # the default must also accept a policy without parameters
        names = [name for name, _ in policy.named_parameters()]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                what = f"{pattern!r} matches no parameter"
                raise UserError(what, "training.trainable", closest(pattern, names))
        for name, parameter in policy.named_parameters():
            parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
    return trainable(policy)
