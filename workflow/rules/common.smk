# What the rules ask of the settings. Answers come from memdt.workflow.plan; bad input ends here, in one line,
# before any job starts.
import functools
import gc
import inspect
import os
import re
import sys
import time
from pathlib import Path

# This folder's code, also where .venv holds another clone: DVC runs experiments in copies.
sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from memdt import paths, set_aside
from memdt.cli import status
from memdt.errors import UserError
from memdt.settings import slices
from memdt.settings.layers import available
from memdt.settings.remembered import resolve
from memdt.settings.resolve import digest as settings_digest
from memdt.settings.resolve import experiment_file, figures, resolve_dataset, selection
from memdt.settings.runs import Run, seeds_of
from memdt.workflow import costs, digests, guard, ledgers, plan, slurm, upstream, variables

STARTED = time.time()
# Whether only a plan is asked for: then nothing is written that the next run goes by.
DRY = workflow.output_settings.dryrun and not os.environ.get(upstream.TAKE_OVER)

# A plan makes objects by the million and drops few. Looking for those was a tenth of its time.
gc.set_threshold(50_000, 20, 50)


def refuse(error):
    """End Snakemake with one line; SystemExit is the one exception that it does not decorate."""
    print(f"memdt: {error.line()}", file=sys.stderr)
    sys.exit(2)


def told(function):
    """The function, with bad input told in one line and its answers remembered."""
    remembered = functools.cache(function)

    @functools.wraps(function)
    def wrapper(*arguments):
        try:
            return remembered(*arguments)
        except UserError as error:
            refuse(error)

    return wrapper


def signed(function):
    """The function with its signature at hand: Snakemake asks for it each time that it calls."""
    function.__signature__ = inspect.signature(function)
    return function


def by_wildcards(function):
    """An input or params function of a rule: called with the values of the named wildcards."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    answer = told(function)
    return signed(lambda wildcards: answer(*(wildcards.get(name, None) for name in names)))


if not paths.CONFIG.is_dir():
    what = f"there is no {paths.CONFIG} here"
    refuse(UserError(what, str(Path.cwd()), f"cd {Path(workflow.basedir).resolve()}"))


@told
def select():
    """The selection, everything that it needs resolved once."""
    asked = selection(dict(config))
    explicit = "experiments" in workflow.config_settings.overwrite_config
    names = {scale: plan.selected(asked, explicit, scale) for scale in available("scales")}
    missing = {name: plan.missing_simulators(name) for scale in names for name in names[scale]}
    possible = {s: tuple(n for n in names[s] if not missing[n]) for s in names}
    if workflow.is_main_process:
        plan.check(asked.scale, possible[asked.scale])
    return asked.scale, possible, {name: lacks for name, lacks in missing.items() if lacks}


SCALE, EXPERIMENTS, LEFT_OUT = select()

if workflow.is_main_process:
    upstream.end_every_slurm_job()
    upstream.reschedule_only_when_needed()
    upstream.check_options(workflow, told(upstream.refuse_options), DRY)
    for note in [*told(variables.check)(), *told(functools.partial(guard.enter, dry=DRY))()]:
        print(f"memdt: {note}", file=sys.stderr)
    for name, lacks in LEFT_OUT.items():
        print(f"memdt: {name} is left out: {lacks[0]} is not installed", file=sys.stderr)
else:
    guard.enter_as_job()
    upstream.record_outputs_on_nodes()


wildcard_constraints:
    scale="|".join(map(re.escape, available("scales"))),
    environment="|".join(map(re.escape, available("environments"))),
    experiment="|".join(map(re.escape, available("experiments"))),
    variant=r"[^/]+",
    seed=r"\d+",
    stage=r"[1-9]\d*",
    figure="|".join(map(re.escape, figures())),


def run_of(wildcards):
    return Run(wildcards.experiment, wildcards.variant, int(wildcards.seed))


def run_source(step, experiment, variant, scale):
    settings = resolve(experiment, variant, scale).settings
    return digests.source_digest(step, **digests.components_of(step, settings))


@by_wildcards
def dataset_settings(scale, environment):
    return settings_digest(slices.dataset(resolve_dataset(environment, scale)))


@by_wildcards
def dataset_source(scale, environment):
    settings = resolve_dataset(environment, scale)
    return digests.source_digest(
        "dataset",
        environment=settings.environment.module,
        source=settings.dataset["source"],
    )


@by_wildcards
def raw_files_of(scale, environment):
    """The files that a dataset is made from, if it is not played here."""
    return [str(path) for path in plan.raw_files(resolve_dataset(environment, scale))]


@by_wildcards
def dataset_of(scale, experiment, variant):
    return str(plan.dataset(scale, experiment, variant))


@by_wildcards
def start_of(scale, experiment, variant, seed, stage):
    """The checkpoint of the stage before, or of the run that the first stage starts from."""
    start = plan.start(scale, Run(experiment, variant, int(seed)), int(stage))
    return [] if start is None else str(start)


@by_wildcards
def train_settings(scale, experiment, variant, stage):
    return settings_digest(slices.train(resolve(experiment, variant, scale).settings, int(stage)))


@by_wildcards
def train_source(scale, experiment, variant):
    return run_source("train", experiment, variant, scale)


@by_wildcards
def chain_left(scale, experiment, variant, seed, stage):
    run = Run(experiment, variant, int(seed))
    return plan.critical_path(scale, run, int(stage))


@by_wildcards
def checkpoint_of(scale, experiment, variant, seed):
    """The last checkpoint of the run that is trained, which may be another experiment's."""
    return str(plan.last_checkpoint(scale, Run(experiment, variant, int(seed))))


@by_wildcards
def demonstrations_of(scale, experiment, variant):
    """The dataset that a policy is shown parts of before it plays, if it wants any."""
    found = plan.demonstrations(scale, experiment, variant)
    return [] if found is None else str(found)


@by_wildcards
def evaluate_settings(scale, experiment, variant):
    return settings_digest(slices.evaluate(resolve(experiment, variant, scale).settings))


@by_wildcards
def evaluate_source(scale, experiment, variant):
    return run_source("evaluate", experiment, variant, scale)


@by_wildcards
def evaluation_share(scale, experiment, variant):
    return plan.evaluation_share(scale, experiment, variant)


@by_wildcards
def attention_source(scale, experiment, variant):
    return run_source("attention", experiment, variant, scale)


@by_wildcards
def record_source(scale, experiment, variant):
    return run_source("record", experiment, variant, scale)


@by_wildcards
def episodes_of(scale, experiment):
    return [str(path) for path in plan.episodes(scale, [experiment])]


@by_wildcards
def table_settings(scale, experiment):
    shape = experiment_file(experiment).table.model_dump(mode="json", exclude_defaults=True)
    return settings_digest([shape, seeds_of(scale, experiment)])


@by_wildcards
def all_episodes(scale):
    return [str(path) for path in plan.episodes(scale, EXPERIMENTS[scale])]


@by_wildcards
def counted_of(scale, experiment):
    """Recordings that a table counts in, if it does."""
    return [str(path) for path in plan.counted(scale, experiment)]


@by_wildcards
def all_counted(scale):
    return [str(path) for name in EXPERIMENTS[scale] for path in plan.counted(scale, name)]


@by_wildcards
def experiments_of(scale):
    return list(EXPERIMENTS[scale])


@by_wildcards
def figure_inputs(scale, figure):
    return [str(path) for path in plan.figure_inputs(scale, figure)]


@by_wildcards
def figure_settings(scale, figure):
    return settings_digest(plan.figure_content(scale, figure))


@by_wildcards
def figure_source(figure):
    return digests.source_digest("figure", figure=plan.figure_module(figure))


@by_wildcards
def clip_source(figure):
    return digests.source_digest("clip", figure=plan.figure_module(figure))


def source_of(step):
    """A params function: the code of a step that is given neither model nor environment."""
    answer = told(digests.source_digest)
    return signed(lambda wildcards: answer(step))


@by_wildcards
def tables_of(scale):
    return [str(paths.table(scale, name)) for name in EXPERIMENTS[scale]]


@by_wildcards
def figures_of(scale):
    return [str(paths.figure(scale, name)) for name in plan.figures_of(EXPERIMENTS[scale])]


@by_wildcards
def clips_of(scale):
    return [str(paths.clip(scale, name)) for name in plan.clips_of(EXPERIMENTS[scale])]


@by_wildcards
def report_settings(scale):
    return settings_digest(plan.report_content(scale, EXPERIMENTS[scale]))


@by_wildcards
def datasets_asked():
    return [str(path) for path in plan.datasets(SCALE, EXPERIMENTS[SCALE])]


@by_wildcards
def runs_asked():
    names = EXPERIMENTS[SCALE]
    found = (plan.manifests, plan.episodes, plan.recorded)
    return [str(path) for of in found for path in of(SCALE, names)]


# ---- what a job asks of a cluster ------------------------------------------------------------
# A second attempt asks for more: memory or time may be why the first one failed.


def needs_card(wildcards):
    """Whether sizes are published ones."""
    return not plan.scale_file(wildcards.scale).reduced


@signed
def gpus_of(wildcards):
    """A graphics card; without `--resources gpu=` all may run. MEMDT_SLURM_GRES asks otherwise."""
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
    """Where jobs with and without a graphics card go; nothing leaves it to the cluster."""
    usual = os.environ.get("MEMDT_SLURM_PARTITION") or None
    return os.environ.get("MEMDT_SLURM_GPU_PARTITION") or usual if needs_card(wildcards) else usual


@signed
def memory_of(wildcards, attempt):
    """Megabytes, with the two Snakemakes that a SLURM job starts beside its step."""
    return attempt * 2000


@signed
def memory_of_training(wildcards, attempt):
    names = (wildcards.scale, wildcards.experiment, wildcards.variant)
    return attempt * training_memory(*names)


@told
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
    """A resources function: minutes by the names of the run, times MEMDT_SLURM_TIME_FACTOR."""
    minutes = by_wildcards(estimate)
    told(variables.check)()
    factor = float(os.environ.get("MEMDT_SLURM_TIME_FACTOR") or 1)
    return signed(lambda wildcards, attempt: round(attempt * factor * minutes(wildcards)))


@minutes_by
def collection_minutes(scale, environment):
    return costs.collection_minutes(scale, environment)


@minutes_by
def training_minutes(scale, experiment, variant, stage):
    return costs.training_minutes(scale, experiment, variant, int(stage))


@minutes_by
def evaluation_minutes(scale, experiment, variant):
    return costs.evaluation_minutes(scale, experiment, variant)
