# The order of jobs. What a job does is in src/memdt, behind `python -m memdt <verb>`.
# Targets: all (the default), smoke, quick, paper, datasets, runs, tables, figures, or any file.
from snakemake.utils import min_version

min_version("9.20")


# First, because it turns bad input into one line, also in config.yaml.
include: "workflow/rules/common.smk"


configfile: "workflow/config/config.yaml"


include: "workflow/rules/resources.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/records.smk"
include: "workflow/rules/messages.smk"


# Here, because an included file cannot define Snakemake's default target.
rule all:
    input:
        f"reports/{SCALE}/report.html",
