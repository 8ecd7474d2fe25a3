# From episodes to tables, claims, figures and the report. Each job takes seconds, so on a cluster it runs beside
# Snakemake instead of on a node.


rule table:
    input:
        episodes=episodes_of,
        recordings=counted_of,
        published=[str(path) for path in paths.published_files()],
    output:
        report(
            "reports/{scale}/tables/{experiment}.csv",
            caption="../report/table.rst",
            category="Tables",
        ),
    log:
        "data/logs/table/{scale}/{experiment}.log",
    benchmark:
        "data/benchmarks/table/{scale}/{experiment}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        settings=table_settings,
        source=source_of("table"),
    shell:
        r"""
        python -m memdt table --experiment {wildcards.experiment:q} --scale {wildcards.scale:q} \
            --source-digest {params.source} --threads {threads} --out {output:q} >{log:q} 2>&1
        """


rule claims:
    input:
        episodes=all_episodes,
        recordings=all_counted,
        claims="data/published/claims.yaml",
        looks="data/published/looks.yaml",
        published=[str(path) for path in paths.published_files()],
    output:
        report(
            "reports/{scale}/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
        ),
    log:
        "data/logs/claims/{scale}.log",
    benchmark:
        "data/benchmarks/claims/{scale}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        experiments=experiments_of,
        source=source_of("claims"),
    shell:
        r"""
        python -m memdt claims --scale {wildcards.scale:q} --experiments {params.experiments:q} \
            --source-digest {params.source} --threads {threads} --out {output:q} >{log:q} 2>&1
        """


rule figure:
    input:
        results=figure_inputs,
        published=[str(path) for path in paths.published_files()],
    output:
        picture=report(
            "reports/{scale}/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
        ),
        frame="reports/{scale}/figures/{figure}.csv",
    log:
        "data/logs/figure/{scale}/{figure}.log",
    benchmark:
        "data/benchmarks/figure/{scale}/{figure}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        settings=figure_settings,
        source=figure_source,
    shell:
        r"""
        python -m memdt figure --figure {wildcards.figure:q} --scale {wildcards.scale:q} \
            --source-digest {params.source} --threads {threads} >{log:q} 2>&1
        """


rule clip:
    input:
        results=figure_inputs,
    output:
        report(
            "reports/{scale}/figures/{figure}.webp",
            caption="../report/figure.rst",
            category="Figures",
        ),
    log:
        "data/logs/clip/{scale}/{figure}.log",
    benchmark:
        "data/benchmarks/clip/{scale}/{figure}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        settings=figure_settings,
        source=clip_source,
    shell:
        r"""
        python -m memdt clip --figure {wildcards.figure:q} --scale {wildcards.scale:q} \
            --source-digest {params.source} --threads {threads} --out {output:q} >{log:q} 2>&1
        """


# For `dvc metrics`: a few numbers from the tables and claims.
rule metrics:
    input:
        claims="reports/{scale}/claims.csv",
        tables=tables_of,
    output:
        "reports/{scale}/metrics.json",
    log:
        "data/logs/metrics/{scale}.log",
    benchmark:
        "data/benchmarks/metrics/{scale}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        experiments=experiments_of,
        source=source_of("metrics"),
    shell:
        r"""
        python -m memdt metrics --scale {wildcards.scale:q} --experiments {params.experiments:q} \
            --source-digest {params.source} --threads {threads} --out {output:q} >{log:q} 2>&1
        """


# The report also reads episodes, curves, manifests and datasets, all of which are made before the tables.
rule report:
    input:
        claims="reports/{scale}/claims.csv",
        tables=tables_of,
        figures=figures_of,
        clips=clips_of,
        metrics="reports/{scale}/metrics.json",
        opinions=sorted(str(path) for path in paths.SECOND_OPINIONS.glob("[!.]*.csv")),
        deviations="docs/deviations.md",
    output:
        report("reports/{scale}/report.html", caption="../report/report.rst", category="Report"),
    log:
        "data/logs/report/{scale}.log",
    benchmark:
        "data/benchmarks/report/{scale}.tsv"
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        settings=report_settings,
        experiments=experiments_of,
        source=source_of("report"),
    shell:
        r"""
        python -m memdt report --scale {wildcards.scale:q} --experiments {params.experiments:q} \
            --source-digest {params.source} --threads {threads} --out {output:q} >{log:q} 2>&1
        """
