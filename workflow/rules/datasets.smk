# One dataset for each configured environment and scale; all experiments share it.


# Files that others have published. They come from outside, so no ledger vouches for them: the job that
# reads one holds it against its digest. One that people have put there is as good.
rule fetch:
    output:
        "data/raw/fetched/{file}",
    log:
        "data/logs/fetch/{file}.log",
    localrule: True  # nodes of a cluster may have no way out
    conda:
        "../../environment.yml"
    params:
        wanted=fetched_digest,
    shell:
        r"""
        python -m memdt fetch {output:q} >{log:q} 2>&1
        """


# One agent for all datasets of an environment, and for those of environments that extend it.
rule agent:
    output:
        replay="data/agents/{scale}/{environment}/replay.h5",
        actors="data/agents/{scale}/{environment}/actors.safetensors",
    log:
        "data/logs/agent/{scale}/{environment}.log",
    benchmark:
        "data/benchmarks/agent/{scale}/{environment}.tsv"
    priority: 2_000_000  # the longest chain of all
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of,
        runtime=agent_minutes,
    params:
        settings=agent_settings,
        source=agent_source,
        out=lambda wildcards, output: Path(output.replay).parent,
    shell:
        r"""
        python -m memdt agent --environment {wildcards.environment:q} --scale {wildcards.scale:q} \
            --settings-digest {params.settings} --source-digest {params.source} \
            --threads {threads} --out {params.out:q} >{log:q} 2>&1
        """


rule dataset:
    input:
        raw=raw_files_of,
    output:
        "data/datasets/{scale}/{environment}.h5",
    log:
        "data/logs/dataset/{scale}/{environment}.log",
    benchmark:
        "data/benchmarks/dataset/{scale}/{environment}.tsv"
    priority: 1_000_000  # hours of training wait for it
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
        python -m memdt dataset --environment {wildcards.environment:q} --scale {wildcards.scale:q} \
            --settings-digest {params.settings} --source-digest {params.source} \
            --threads {threads} --raw {input.raw:q} --out {output:q} >{log:q} 2>&1
        """
