"""What a run may be told: frozen models that refuse unknown keys; JSON Schemas are made from them.

Settings say what shapes a result. Threads, memory, partitions and output folders are not settings;
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

from memdt.settings.names import Name, Word, twice

MOST = 2**31 - 1  # of whole numbers: seeds of simulators go no further
Item = TypeVar("Item")


def _distinct(values: tuple[Item, ...]) -> tuple[Item, ...]:
    again = [value for at, value in enumerate(values) if value in values[:at]]
    if again:
        raise ValueError(f"{again[0]!r} stands twice")
    return values


# Sizes that a plan can hold; what does not fit into a machine is told when it is tried.
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Updates = Annotated[int, Field(gt=0, le=1_000_000_000)]
Seed = Annotated[int, Field(ge=0, le=MOST)]
Lengths = Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(_distinct)]


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
    """Base of the settings of a model that wants a demonstration of the same task or group."""

    demonstration_steps: int = Field(default=0, ge=0, description="steps of it; 0: none is shown")
    demonstration_part: Literal["first", "last"] = Field(
        default="last", description="from the beginning of an episode, or to its end"
    )


class EnvironmentSettings(Frozen):
    """Which environment, and how it is configured."""

    name: str = Field(description="the file under workflow/config/environments")
    module: str = Field(description="the module under src/memdt/environments")
    parameters: dict[str, Any] = Field(default={}, description="checked by the module's Settings")


class AdapterSettings(Frozen):
    """Which layers LoRA adapts, and how. Source: Hu et al. 2022; DT-Mem section 4.4."""

    layers: tuple[str, ...] = Field(
        min_length=1, description="names of linear layers; * stands for anything, dots too"
    )
    # Deviation D47: DT-Mem prints neither alpha nor dropout; its public code has 1 and none.
    rank: int = Field(default=4, gt=0, description="of the matrix that is added to a weight")
    alpha: float = Field(default=16.0, gt=0, description="it is multiplied by alpha / rank")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of a layer's inputs to it")


class TrainingSettings(Frozen):
    """How one run is trained."""

    segments: int = Field(
        gt=0, le=10_000, description="segments of the longest episodes trained on (S)"
    )
    curriculum: bool = Field(default=True, description="stage k trains on Q_k = q_1 u ... u q_k")
    updates_per_stage: tuple[Updates, ...] | None = Field(
        default=None,
        min_length=1,
        description="updates of stage 1, 2, ...; the last value serves the rest",
    )
    horizons: tuple[Count, ...] | None = Field(
        default=None,
        min_length=1,
        description="a curriculum of horizons: stage k trains on the first so many steps of every "
        "episode; null: on all of them",
    )
    batch_size_per_stage: tuple[Count, ...] | None = Field(
        default=None,
        min_length=1,
        description="episodes in a batch of stage 1, 2, ...; the last value serves the rest; "
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
        description="full: one update a batch, gradient through all its segments; "
        "detached: memory is cut and the optimiser steps after every segment",
    )
    start: Literal["beginning", "random"] = Field(
        default="beginning", description="where in an episode training starts"
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
        description="up to so many copies of a middle segment are inserted at random",
    )
    write_cost: float = Field(
        default=0.0,
        ge=0,
        description="charge for overwriting memory, times the mean openness of its gates; the "
        "first segment writes for nothing",
    )
    trainable: tuple[str, ...] = Field(
        default=("*",),
        min_length=1,
        description="names of the parameters that are trained, * for anything; the rest is frozen",
    )
    adapter: AdapterSettings | None = Field(
        default=None, description="LoRA: train adapters alone, merged at the end; null: none"
    )
    data_fraction: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of each group's episodes to train on; a larger one holds a smaller one",
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
            raise ValueError("training.adapter freezes all else: leave training.trainable out")
        return self

    @model_validator(mode="after")
    def _one_curriculum(self) -> TrainingSettings:
        if self.horizons is not None and (self.curriculum or self.start != "beginning"):
            raise ValueError(
                "training.horizons is a curriculum of its own, from the beginning of episodes: it "
                "needs training.curriculum: false and training.start: beginning"
            )
        return self

    @model_validator(mode="after")
    def _cost_has_gradient(self) -> TrainingSettings:
        if self.write_cost and self.gradient_through_memory != "full":
            raise ValueError("training.write_cost needs training.gradient_through_memory: full")
        return self


class InputSettings(Frozen):
    """What is made of observations and returns before a policy sees them.

    Statistics are those of the whole dataset, and are kept in the checkpoint.
    """

    observations: Literal["raw", "standardized"] = Field(
        default="raw", description="standardized: mean 0 and deviation 1 in every dimension"
    )
    return_scale: float | Literal["dataset"] = Field(
        default=1.0,
        description="returns-to-go are divided by it; dataset: by the largest of the dataset",
    )

    @model_validator(mode="after")
    def _scale_is_positive(self) -> InputSettings:
        if self.return_scale != "dataset" and self.return_scale <= 0:
            raise ValueError("inputs.return_scale must be positive")
        return self


class Condition(Frozen):
    """One way of evaluating a checkpoint. Source: RATE section 5.2 and Table 6."""

    memory_edit: Literal["none", "first_segment", "added_noise", "noise"] = Field(
        default="none",
        description="what is done to the memory at every segment border: nothing; the memory of "
        "the first segment is kept; white noise is added; memory is replaced by white noise",
    )
    noise_scale: float = Field(default=1.0, ge=0, description="standard deviation of the noise")
    return_to_go_held: bool = Field(default=False, description="feed the target return throughout")
    return_to_go_restarts: bool = Field(
        default=False,
        description="every segment begins with the target return again, and what was received "
        "before it is forgotten (RATE section 4.4)",
    )
    target_return: float | None = Field(
        default=None, description="asked for at the first step; null: that of the evaluation"
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
        default=False, description="look back at as many segments as training did"
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
    target_return: float = Field(description="return-to-go asked for at the first step")
    action_selection: Literal["greedy", "sampled"] = "greedy"
    conditions: dict[Word, Condition] = Field(default={"as_published": Condition()}, min_length=1)
    seed: Seed = Field(default=0, description="seed of sampled actions and memory noise")


class ResolvedSettings(Frozen):
    """Base of settings that are whole: parts that belong to modules are checked by these."""

    # Kept beside the full values, because only the modules know their defaults, and importing a
    # model takes torch. Whoever replaces such a part must replace this as well.
    non_default: SkipJsonSchema[dict[str, dict[str, Any]] | None] = Field(
        default=None,
        description="by dotted key, what of such a part differs from its defaults; null: unknown, "
        "all of it counts. `resolve` fills it in, no file may set it",
    )


class DatasetSettings(ResolvedSettings):
    """What shapes the dataset of a configured environment; no experiment may change it."""

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
    seeds: Annotated[tuple[Seed, ...], AfterValidator(_distinct)] = Field(
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
        """Number of training stages, each a job of its own."""
        if self.training.horizons is not None:
            return len(self.training.horizons)
        return self.training.segments if self.training.curriculum else 1


class Variant(Frozen):
    """One row of an experiment: a model and what is different about it."""

    model: str | None = Field(default=None, description="the file under workflow/config/models")
    checkpoint_of: str | None = Field(
        default=None, description="experiment/variant whose checkpoints are evaluated"
    )
    start_from: str | None = Field(
        default=None, description="experiment/variant whose checkpoints training starts from"
    )
    environment: str | None = Field(
        default=None, description="null: that of the experiment, or of the checkpoints"
    )
    set: dict[str, Any] = Field(default={}, description="dotted settings of this variant")

    @model_validator(mode="after")
    def _one_source(self) -> Variant:
        sources = (self.model, self.checkpoint_of, self.start_from)
        if sum(one is not None for one in sources) != 1:
            raise ValueError("a variant needs exactly one of model, checkpoint_of and start_from")
        return self

    @property
    def source(self) -> str | None:
        """experiment/variant whose checkpoints this one takes, to play or to start from."""
        return self.checkpoint_of or self.start_from


class TableSettings(Frozen):
    """The shape of the experiment's table."""

    rows: str = Field(
        default="segments", description="one of variant, condition, segments and metric"
    )
    columns: str = Field(default="variant", description="another one of them")
    metric: str | tuple[str, ...] = Field(
        default="success",
        description="one or more; docs/output.md says how they are written",
    )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics as a tuple, also where there is one."""
        return self.metric if isinstance(self.metric, tuple) else (self.metric,)


class Answers(Frozen):
    """What of a paper the experiment answers."""

    paper: str
    item: str


class ExperimentFile(Frozen):
    """A file under workflow/config/experiments: one table or figure of a paper."""

    title: str
    answers: Answers | None = Field(
        default=None, description="null: nothing is published that it could be held against"
    )
    environment: str
    set: dict[str, Any] = Field(default={}, description="dotted settings for every variant")
    variants: dict[Name, Variant] = Field(min_length=1)
    table: TableSettings = TableSettings()
    note: str = Field(default="", description="printed under the table")

    @model_validator(mode="after")
    def _folders_differ(self) -> ExperimentFile:
        if why := twice(self.variants):
            raise ValueError(f"variants: {why}")
        return self


class ScaleFile(Frozen):
    """A file under workflow/config/scales: budgets only, never what is asked."""

    title: str
    reduced: bool = Field(description="sizes or budgets are below the published ones")
    meaningless: bool = Field(default=False, description="a layout check; its numbers mean nothing")
    defaults: dict[str, Any] = {}
    environments: dict[str, dict[str, Any]] = {}
    models: dict[str, dict[str, Any]] = {}
    models_by_environment: dict[str, dict[str, dict[str, Any]]] = Field(
        default={}, description="what a model has in one environment only"
    )
    experiments: dict[str, dict[str, Any]] = {}
    only: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default={}, description="variants of an experiment run at this scale; all where not named"
    )


class ModelFile(Frozen):
    """A file under workflow/config/models: published hyper-parameters, by environment."""

    module: str | None = None
    defaults: dict[str, Any] = {}
    environments: dict[str, dict[str, Any]] = {}


class Selection(Frozen):
    """workflow/config/config.yaml: what a bare ``snakemake`` runs."""

    scale: str
    experiments: Annotated[tuple[str, ...], AfterValidator(_distinct)] | str
    plugins: tuple[str, ...] = Field(
        default=(), description="folders of components that are searched beside src/memdt"
    )
