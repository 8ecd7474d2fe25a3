"""The settings of a run, as frozen models that refuse unknown keys. They also define JSON Schemas.

Settings are what shapes a result. Threads, memory, partitions and output folders are not settings;
they belong to Snakemake's resources and profiles.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from memdt.settings.names import Word

MOST = 2**31 - 1  # of whole numbers: seeds of simulators go no further
Item = TypeVar("Item")


def distinct(values: tuple[Item, ...]) -> tuple[Item, ...]:
    """Return the values. Raises ValueError if one of them appears twice."""
    again = [value for at, value in enumerate(values) if value in values[:at]]
    if again:
        raise ValueError(f"{again[0]!r} appears twice")
    return values


# Sizes that a plan can hold; what does not fit into a machine is told when it is tried.
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Updates = Annotated[int, Field(gt=0, le=1_000_000_000)]
Seed = Annotated[int, Field(ge=0, le=MOST)]
Lengths = Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(distinct)]


class Frozen(BaseModel):
    """Base of all settings: immutable, numbers finite, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Neither ``true`` for 1, nor a number that no machine counts to."""
        allowed = _types(cls.model_fields[info.field_name or ""].annotation)
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, bool) and not {bool, Any} & allowed and {int, float} & allowed:
                raise ValueError("expected a number, not true or false")
            if isinstance(one, int) and abs(one) > MOST and Any not in allowed:
                raise ValueError(f"at most {MOST:,}")
        return value


def _types(annotation: Any) -> set[Any]:
    """All types that an annotation is made of."""
    parts = get_args(annotation)
    return {annotation}.union(*map(_types, parts)) if parts else {annotation}


class DemonstrationSettings(Frozen):
    """Base of the settings of a model that reads a demonstration of the same task or group."""

    demonstration_steps: int = Field(
        default=0, ge=0, description="steps of the demonstration; 0: no demonstration"
    )
    demonstration_part: Literal["first", "last"] = Field(
        default="last", description="which steps of an episode it consists of"
    )


class EnvironmentSettings(Frozen):
    """An environment and its configuration."""

    name: str = Field(description="the file under workflow/config/environments")
    module: str = Field(description="the module under src/memdt/environments")
    parameters: dict[str, Any] = Field(default={}, description="checked by the module's Settings")


class AdapterSettings(Frozen):
    """Which layers LoRA adapts, and how. Source: Hu et al. 2022; DT-Mem section 4.4."""

    layers: tuple[str, ...] = Field(
        min_length=1, description="names of linear layers; * matches anything, including dots"
    )
    # Deviation D47: DT-Mem prints neither alpha nor dropout; its public code has 1 and none.
    rank: int = Field(default=4, gt=0, description="rank of the matrix added to a weight")
    alpha: float = Field(default=16.0, gt=0, description="the matrix is scaled by alpha / rank")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout of the adapter's inputs")


class TrainingSettings(Frozen):
    """How one run is trained."""

    segments: int = Field(
        gt=0, le=10_000, description="segments of the longest episodes trained on (S)"
    )
    curriculum: bool = Field(default=True, description="stage k trains on Q_k = q_1 u ... u q_k")
    updates_per_stage: tuple[Updates, ...] | None = Field(
        default=None,
        min_length=1,
        description="updates of stage 1, 2, ...; later stages use the last value",
    )
    horizons: tuple[Count, ...] | None = Field(
        default=None,
        min_length=1,
        description="a curriculum of horizons: number of first steps of every episode that stage "
        "1, 2, ... trains on; null: all steps",
    )
    batch_size_per_stage: tuple[Count, ...] | None = Field(
        default=None,
        min_length=1,
        description="episodes in a batch of stage 1, 2, ...; later stages use the last value; "
        "null: batch_size",
    )
    epochs_per_stage: Count | None = Field(default=None, description="instead of updates")
    batch_size: Count = Field(description="episodes in a batch")
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    beta_1: float = Field(default=0.9, ge=0, lt=1)
    beta_2: float = Field(default=0.95, ge=0, lt=1)
    warmup_updates: int = Field(default=0, ge=0, description="linear warm-up, anew in each stage")
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_learning_rate_fraction: float = Field(default=0.1, ge=0, le=1)
    gradient_clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    gradient_through_memory: Literal["full", "detached"] = Field(
        default="full",
        description="full: one update per batch, with gradient through all its segments; "
        "detached: memory is detached and weights are updated after every segment",
    )
    start: Literal["beginning", "random"] = Field(
        default="beginning", description="where in an episode training starts"
    )
    action_loss: Literal["all", "balanced", "last"] = Field(
        default="all",
        description="all: every action counts alike; balanced: inversely to how often it is taken; "
        "last: only the last action of an episode or window counts",
    )
    window_draw: Literal["by_episode", "by_length"] = Field(
        default="by_episode",
        description="start random: windows come from all episodes alike, or from each in "
        "proportion to its steps",
    )
    memory_noise: float = Field(
        default=0.0, ge=0, description="deviation of the noise added to memory between segments"
    )
    idle_segments: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="largest number of copies of a middle segment that are inserted at random",
    )
    write_cost: float = Field(
        default=0.0,
        ge=0,
        description="cost of overwriting memory, times the mean openness of its gates; the "
        "write of the first segment is free",
    )
    trainable: tuple[str, ...] = Field(
        default=("*",),
        min_length=1,
        description="names of trained parameters; * matches anything; the others are frozen",
    )
    adapter: AdapterSettings | None = Field(
        default=None, description="LoRA: train adapters only, and merge them at the end; null: none"
    )
    data_fraction: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of each group's episodes to train on; a larger share includes a smaller",
    )
    best_fraction: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="train on the episodes of the highest returns that hold this share of the "
        "steps; 0.1 with behaviour cloning: %BC",
    )
    precision: Literal["float32", "bfloat16"] = "float32"
    log_every: int = Field(default=10, gt=0, description="updates between two rows of the curve")

    @model_validator(mode="after")
    def _one_budget(self) -> TrainingSettings:
        if (self.updates_per_stage is None) == (self.epochs_per_stage is None):
            raise ValueError(
                "training needs exactly one of updates_per_stage and epochs_per_stage; "
                "set the other one to null"
            )
        return self

    @model_validator(mode="after")
    def _one_way_of_freezing(self) -> TrainingSettings:
        if self.adapter is not None and self.trainable != ("*",):
            raise ValueError(
                "training.adapter freezes everything else: leave training.trainable out"
            )
        return self

    @model_validator(mode="after")
    def _one_curriculum(self) -> TrainingSettings:
        if self.horizons is not None and (self.curriculum or self.start != "beginning"):
            raise ValueError(
                "training.horizons is a curriculum of its own, and starts with the first steps of "
                "episodes: it needs training.curriculum: false and training.start: beginning"
            )
        return self

    @model_validator(mode="after")
    def _cost_has_gradient(self) -> TrainingSettings:
        if self.write_cost and self.gradient_through_memory != "full":
            raise ValueError("training.write_cost needs training.gradient_through_memory: full")
        return self


class InputSettings(Frozen):
    """What is made of observations and returns before a policy sees them.

    Statistics are those of the whole dataset, the mean frame that of the episodes trained on. Both
    are kept in the checkpoint.
    """

    observations: Literal["raw", "standardized", "centered"] = Field(
        default="raw",
        description="standardized: vectors with mean 0 and deviation 1 in every dimension; "
        "centered: frames minus their mean frame, so that what moves stands out",
    )
    return_scale: float | Literal["dataset"] = Field(
        default=1.0,
        description="returns-to-go are divided by it; dataset: by the largest of the dataset",
    )

    frame_stack: int = Field(
        default=1,
        gt=0,
        le=100,
        description="consecutive frames that form one observation; datasets hold single ones",
    )

    @model_validator(mode="after")
    def _scale_is_positive(self) -> InputSettings:
        if self.return_scale != "dataset" and self.return_scale <= 0:
            raise ValueError("inputs.return_scale must be positive")
        if self.frame_stack > 1 and self.observations == "standardized":
            raise ValueError("inputs.frame_stack needs inputs.observations: raw or centered")
        return self


class Condition(Frozen):
    """One way of evaluating a checkpoint. Source: RATE section 5.2 and Table 6."""

    memory_edit: Literal["none", "first_segment", "added_noise", "noise", "initial"] = Field(
        default="none",
        description="what is done to the memory at every segment border: nothing; the memory of "
        "the first segment is kept; white noise is added; memory is replaced by white noise; it "
        "becomes what it is at the start of an episode, cached states included",
    )
    erased_tokens: tuple[int, ...] = Field(
        default=(), description="memory tokens (or slots) made 0 at every segment border, from 0 on"
    )
    noise_scale: float = Field(default=1.0, ge=0, description="standard deviation of the noise")
    return_to_go_held: bool = Field(default=False, description="feed the target return throughout")
    return_to_go_restarts: bool = Field(
        default=False,
        description="every segment begins with the target return again, and what was received "
        "before it is forgotten (RATE section 4.4)",
    )
    target_return: float | None = Field(
        default=None, description="return-to-go at the first step; null: that of the evaluation"
    )
    context_segments: Count | None = Field(
        default=None,
        description="how far a model without recurrence looks back, in segments; "
        "null: one segment, as the paper evaluates; recurrent models ignore it",
    )
    segments: Lengths | None = Field(
        default=None, description="lengths of this condition; null: those of the evaluation"
    )
    full_context: bool = Field(
        default=False, description="look back as many segments as training does"
    )

    @model_validator(mode="after")
    def _one_course_of_the_return(self) -> Condition:
        if self.return_to_go_held and self.return_to_go_restarts:
            raise ValueError("return_to_go_held and return_to_go_restarts exclude each other")
        return self


class EvaluationSettings(Frozen):
    """How a checkpoint is evaluated."""

    segments: Lengths = Field(description="lengths of the evaluation episodes in segments")
    episodes: Count = Field(description="episodes at each length")
    first_seed: Seed = Field(default=0, description="environment seeds count from here")
    target_return: float = Field(description="return-to-go at the first step")
    action_selection: Literal["greedy", "sampled"] = "greedy"
    conditions: dict[Word, Condition] = Field(default={"as_published": Condition()}, min_length=1)
    seed: Seed = Field(default=0, description="seed of sampled actions and memory noise")
    attention: bool = Field(
        default=False, description="keep shares of attention (evaluation/attention_shares.py) too"
    )


class ResolvedSettings(Frozen):
    """Base of settings that are whole: parts that belong to modules are checked by these."""

    # Stored with the full values, because only the modules know their defaults, and importing a
    # model takes torch. Code that replaces such a part must replace this too.
    non_default: SkipJsonSchema[dict[str, dict[str, Any]] | None] = Field(
        default=None,
        description="by dotted key, what of such a part differs from its defaults; null: unknown, "
        "all of it counts. `resolve` fills it in, no file may set it",
    )


class DatasetSettings(ResolvedSettings):
    """The settings that shape the dataset of an environment; no experiment may change them."""

    environment: EnvironmentSettings
    dataset: dict[str, Any] = Field(description="checked by the Settings of the source's module")


class RunSettings(ResolvedSettings):
    """Everything that shapes one variant of one experiment at one scale."""

    environment: EnvironmentSettings
    dataset: dict[str, Any] = Field(description="checked by the Settings of the source's module")
    segment_length: Count = Field(description="steps in a segment, K in RATE section 4.2")
    model: dict[str, Any] = Field(description="checked by the Settings of the model's module")
    inputs: InputSettings = InputSettings()
    training: TrainingSettings
    learner: dict[str, Any] = Field(
        default={}, description="checked by the Settings of the learner's module, if it has any"
    )
    evaluation: EvaluationSettings
    seeds: Annotated[tuple[Seed, ...], AfterValidator(distinct)] = Field(
        min_length=1, max_length=10_000, description="one run each; the unit of statistics"
    )
    # The last two follow from the variant; `resolve` fills them in, no file may set them.
    start: SkipJsonSchema[dict[str, Any] | None] = Field(
        default=None, description="what shaped the checkpoint that training starts from"
    )
    played: SkipJsonSchema[dict[str, Any] | None] = Field(
        default=None, description="what shaped the checkpoint that is played; null: these settings"
    )

    @property
    def stages(self) -> int:
        """Number of training stages, each of which is a job."""
        if self.training.horizons is not None:
            return len(self.training.horizons)
        return self.training.segments if self.training.curriculum else 1
