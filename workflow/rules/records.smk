# Nothing finished is lost. Snakemake's records travel with the files (memdt/workflow/ledgers.py) and are
# synchronised when a run begins and ends. What a job replaces is kept under a second name (memdt/set_aside.py).
KEPT = {}


def asked_files():
    """What the experiments of this run's scale are to have."""
    return frozenset(plan.files(SCALE, EXPERIMENTS[SCALE]))


def synchronise_records(starts, alone=False):
    """Bring ledgers and records together. A full disk is reported, and does not stop the run."""
    try:
        made = [one for one in workflow.rules if one.name != "fetch"]
        files = ledgers.files_of(made)
        summary = ledgers.synchronise(files, starts, alone, DRY, guard.cleared, asked_files)
    except OSError as error:
        print(f"memdt: records of files are not up to date: {error}", file=sys.stderr)
    else:
        for note in summary.notes():
            print(f"memdt: {note}", file=sys.stderr)


def keep_what_is_replaced(jobs):
    """Keep existing datasets, runs and evaluations that will be made anew."""
    meaningful = [
        job for job in jobs if not plan.scale_file(job.wildcards.get("scale", SCALE)).meaningless
    ]
    outputs = [Path(output) for job in meaningful for output in job.output]
    finished = [path for path in outputs if path.is_file() and path.parts[0] == "data"]
    KEPT.update(set_aside.keep(finished))


def print_kept_files():
    """Print how many finished files were replaced, where they are now, and their size."""
    kept = set_aside.settle(KEPT)
    if kept:
        size = sum(path.stat().st_size for path in kept) / 1e6
        print(
            f"memdt: {len(kept):,} replaced files are kept in {set_aside.FOLDER} ({size:,.1f} MB)",
            file=sys.stderr,
        )


if workflow.is_main_process:
    synchronise_records(starts=True, alone=guard.is_alone())
    guard.let_others_in()
