# ---- resources on a cluster ------------------------------------------------------------------
# A second attempt requests more, because the first may have run out of memory or time.


def needs_card(wildcards):
    """Whether sizes are published ones."""
    return not plan.scale_file(wildcards.scale).reduced


@signed
def gpus_of(wildcards):
    """GPUs of a job: one at published sizes. `--resources gpu=N` limits how many jobs use one."""
    return int(needs_card(wildcards) and not os.environ.get("MEMDT_SLURM_GRES"))


@signed
def gres_of(wildcards):
    """A card as generic resource, such as gpu:a100:1, for clusters that know no `--gpus`."""
    return (os.environ.get("MEMDT_SLURM_GRES") or None) if needs_card(wildcards) else None


@signed
def gpu_model_of(wildcards):
    """The kind of card, such as a100."""
    return (os.environ.get("MEMDT_SLURM_GPU_MODEL") or None) if needs_card(wildcards) else None


@signed
def partition_of(wildcards):
    """The partition of jobs with and without a GPU; None leaves the choice to the cluster."""
    usual = os.environ.get("MEMDT_SLURM_PARTITION") or None
    return os.environ.get("MEMDT_SLURM_GPU_PARTITION") or usual if needs_card(wildcards) else usual


@signed
def memory_of(wildcards, attempt):
    """Megabytes, including the two Snakemakes that a SLURM job starts beside its step."""
    return attempt * 2000


@signed
def memory_of_training(wildcards, attempt):
    names = (wildcards.scale, wildcards.experiment, wildcards.variant)
    return attempt * training_memory(*names)


@guarded
def training_memory(scale, experiment, variant):
    return costs.training_memory(scale, experiment, variant)


@signed
def memory_of_model(wildcards, attempt):
    return attempt * costs.memory(wildcards.scale)


@signed
def minutes_of(wildcards, attempt):
    """Minutes of steps that are short at every scale."""
    return attempt * 60


def minutes_by(estimate):
    """Make a resources function from an estimate in minutes, times MEMDT_SLURM_TIME_FACTOR."""
    minutes = by_wildcards(estimate)
    guarded(variables.check)()
    factor = float(os.environ.get("MEMDT_SLURM_TIME_FACTOR") or 1)
    return signed(lambda wildcards, attempt: round(attempt * factor * minutes(wildcards)))


@minutes_by
def collection_minutes(scale, environment):
    return costs.collection_minutes(scale, environment)


@minutes_by
def agent_minutes(scale, environment):
    return costs.agent_minutes(scale, environment)


@minutes_by
def training_minutes(scale, experiment, variant, stage):
    return costs.training_minutes(scale, experiment, variant, int(stage))


@minutes_by
def evaluation_minutes(scale, experiment, variant):
    return costs.evaluation_minutes(scale, experiment, variant)
