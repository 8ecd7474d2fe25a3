# Functions that rules call for inputs, params and resources. Answers come from memdt.workflow.plan. Bad input ends
# here with one line, before any job starts.
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
from memdt.settings.files import experiment_file, selection
from memdt.settings.pages import figures
from memdt.settings.resolve import resolve_dataset
from memdt.settings.runs import Run, seeds_of
from memdt.workflow import (
    costs,
    digests,
    guard,
    inputs,
    ledgers,
    plan,
    slurm,
    upstream,
    variables,
)

STARTED = time.time()
# Whether this is only a plan, which writes nothing that the next run relies on.
DRY = workflow.output_settings.dryrun and not os.environ.get(upstream.TAKE_OVER)

# A plan creates millions of objects and drops few. Garbage collection took a tenth of its time.
gc.set_threshold(50_000, 20, 50)


def refuse(error):
    """End Snakemake with one line; SystemExit is the only exception to which it adds nothing."""
    print(f"memdt: {error.line()}", file=sys.stderr)
    sys.exit(2)


def guarded(function):
    """Wrap a function: cache its answers, and end Snakemake with one line on bad input."""
    remembered = functools.cache(function)

    @functools.wraps(function)
    def wrapper(*arguments):
        try:
            return remembered(*arguments)
        except UserError as error:
            refuse(error)

    return wrapper


def signed(function):
    """Store a function's signature on it, because Snakemake computes it anew on every call."""
    function.__signature__ = inspect.signature(function)
    return function


def by_wildcards(function):
    """Make a rule's input or params function from one whose arguments name wildcards."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    answer = guarded(function)
    return signed(lambda wildcards: answer(*(wildcards.get(name, None) for name in names)))


if not paths.CONFIG.is_dir():
    what = f"there is no {paths.CONFIG} here"
    refuse(UserError(what, str(Path.cwd()), f"cd {Path(workflow.basedir).resolve()}"))


@guarded
def select():
    """The selected scale, the experiments of each scale that can run, and what the others lack."""
    chosen = selection(dict(config))
    explicit = "experiments" in workflow.config_settings.overwrite_config
    names = {scale: plan.selected(chosen, explicit, scale) for scale in available("scales")}
    missing = {name: plan.missing_simulators(name) for scale in names for name in names[scale]}
    possible = {s: tuple(n for n in names[s] if not missing[n]) for s in names}
    if workflow.is_main_process:
        plan.check(chosen.scale, possible[chosen.scale])
    return chosen.scale, possible, {name: lacks for name, lacks in missing.items() if lacks}


SCALE, EXPERIMENTS, LEFT_OUT = select()

if workflow.is_main_process:
    upstream.end_every_slurm_job()
    upstream.reschedule_only_when_needed()
    upstream.check_options(workflow, guarded(upstream.refuse_options), DRY)
    for note in [*guarded(variables.check)(), *guarded(functools.partial(guard.enter, dry=DRY))()]:
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


# Many runs share a step and its components.
source_digest = functools.cache(digests.source_digest)


def run_of(wildcards):
    return Run(wildcards.experiment, wildcards.variant, int(wildcards.seed))


def run_source(step, experiment, variant, scale):
    settings = resolve(experiment, variant, scale).settings
    return source_digest(step, **digests.components_of(step, settings))


@by_wildcards
def dataset_settings(scale, environment):
    return settings_digest(slices.dataset(resolve_dataset(environment, scale)))


@by_wildcards
def dataset_source(scale, environment):
    settings = resolve_dataset(environment, scale)
    return source_digest(
        "dataset",
        environment=settings.environment.module,
        source=settings.dataset["source"],
    )


@by_wildcards
def raw_files_of(scale, environment):
    """The files that a dataset is made from, if it is not played here by the environment's policy."""
    return [str(path) for path in inputs.dataset_inputs(scale, environment)]


@by_wildcards
def agent_settings(scale, environment):
    agent = inputs.agent(scale, environment)
    return None if agent is None else settings_digest(agent[1])


@by_wildcards
def agent_source(scale, environment):
    return source_digest(
        "agent", environment=resolve_dataset(environment, scale).environment.module
    )


@by_wildcards
def fetched_digest(file):
    """Size and SHA-256 of a fetched file. Another digest means another file."""
    raw = inputs.fetched(Path("data/raw/fetched") / file)
    return [raw.size, raw.sha256]


@by_wildcards
def dataset_of(scale, experiment, variant):
    return str(plan.dataset(scale, experiment, variant))


@by_wildcards
def start_of(scale, experiment, variant, seed, stage):
    """The checkpoint of the previous stage, or of the run that the first stage starts from."""
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
    """The last checkpoint of the trained run, which may belong to another experiment."""
    return str(plan.last_checkpoint(scale, Run(experiment, variant, int(seed))))


@by_wildcards
def demonstrations_of(scale, experiment, variant):
    """The dataset that demonstrations come from, if the policy uses any."""
    dataset = plan.demonstrations(scale, experiment, variant)
    return [] if dataset is None else str(dataset)


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
    """The recordings that a table reads, if it reads any."""
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
    return source_digest("figure", figure=plan.figure_module(figure))


@by_wildcards
def clip_source(figure):
    return source_digest("clip", figure=plan.figure_module(figure))


def source_of(step):
    """Make a params function: the source digest of a step without components."""
    answer = guarded(source_digest)
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
    outputs_of = (plan.manifests, plan.episodes, plan.recorded)
    return [str(path) for outputs in outputs_of for path in outputs(SCALE, EXPERIMENTS[SCALE])]
