# One dataset for each configured environment and scale; all experiments share it.


rule collect_dataset:
    output:
        "data/datasets/{scale}/{environment}.h5",
    log:
        "data/logs/collect/{scale}/{environment}.log",
    benchmark:
        "data/benchmarks/collect/{scale}/{environment}.tsv"
    priority: 1_000_000  # every training on it, chains of hours, waits
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of,
        runtime=collection_minutes,
    params:
        settings=dataset_settings,
        source=dataset_source,
    shell:
        r"""
        python -m memdt collect --environment {wildcards.environment:q} --scale {wildcards.scale:q} \
            --settings-digest {params.settings} --source-digest {params.source} \
            --threads {threads} --out {output:q} >{log:q} 2>&1
        """
