# Which job runs when; what a job does is in src/memdt, behind `python -m memdt <verb>`.
# Targets: all (the default), smoke, quick, paper, datasets, runs, tables, figures, or any file.
from snakemake.utils import min_version

min_version("9.20")


# First, because it tells bad input in one line, also that in config.yaml.
include: "workflow/rules/common.smk"


configfile: "workflow/config/config.yaml"


include: "workflow/rules/targets.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/records.smk"
include: "workflow/rules/messages.smk"


# Here, because Snakemake takes no default target from an included file.
rule all:
    input:
        f"reports/{SCALE}/report.html",
