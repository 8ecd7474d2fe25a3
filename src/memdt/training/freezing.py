"""What of a policy a stage trains: all of it, some parameters by name, or adapters alone.

    training.trainable: ["*"]        everything (full fine-tuning)
    training.trainable: [prompt.*]   these parameters, the others are frozen
    training.adapter: {layers: ...}  LoRA beside these layers, the others are frozen

At the end adapters are merged, so a checkpoint is always that of an ordinary policy.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from memdt.errors import UserError, closest
from memdt.models.parts.adapters import Trainable, adapt, trainable
from memdt.settings.schema import TrainingSettings


def freeze(policy: nn.Module, training: TrainingSettings) -> Trainable:
    """Leave open what is trained, adapters put in place; returns how much that is.

    Adapters are drawn from the generator of torch. UserError where a name fits nothing.
    """
    if training.adapter is not None:
        adapt(policy, training.adapter)
    elif training.trainable != ("*",):
        _freeze_others(policy, training.trainable)
    return trainable(policy)


def _freeze_others(policy: nn.Module, patterns: tuple[str, ...]) -> None:
    names = [name for name, _ in policy.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            what = f"{pattern!r} is the name of no parameter"
            raise UserError(what, "training.trainable", closest(pattern, names))
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
