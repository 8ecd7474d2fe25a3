# One job plays all lengths and conditions of a checkpoint. Others record its attention in one episode, and what
# happens in several.


rule evaluate:
    input:
        checkpoint=checkpoint_of,
        dataset=demonstrations_of,
    output:
        episodes="data/runs/{scale}/{experiment}/{variant}/seed_{seed}/episodes.csv",
        manifest="data/runs/{scale}/{experiment}/{variant}/seed_{seed}/evaluation_manifest.json",
    log:
        "data/logs/evaluate/{scale}/{experiment}/{variant}/seed_{seed}.log",
    benchmark:
        "data/benchmarks/evaluate/{scale}/{experiment}/{variant}/seed_{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=gpus_of,
        gpu_model=gpu_model_of,
        gres=gres_of,
        mem_mb=memory_of_model,
        runtime=evaluation_minutes,
        slurm_partition=partition_of,
    params:
        settings=evaluate_settings,
        source=evaluate_source,
    shell:
        r"""
        python -m memdt evaluate --experiment {wildcards.experiment:q} --variant {wildcards.variant:q} \
            --scale {wildcards.scale:q} --seed {wildcards.seed} \
            --settings-digest {params.settings} --source-digest {params.source} --threads {threads} \
            --checkpoint {input.checkpoint:q} --dataset {input.dataset:q} --out {output.episodes:q} >{log:q} 2>&1
        """


rule attention:
    input:
        checkpoint=checkpoint_of,
        dataset=demonstrations_of,
    output:
        "data/runs/{scale}/{experiment}/{variant}/seed_{seed}/attention.npz",
    log:
        "data/logs/attention/{scale}/{experiment}/{variant}/seed_{seed}.log",
    benchmark:
        "data/benchmarks/attention/{scale}/{experiment}/{variant}/seed_{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory_of_model,
        runtime=minutes_of,
    params:
        settings=evaluate_settings,
        source=attention_source,
    shell:
        r"""
        python -m memdt attention --experiment {wildcards.experiment:q} --variant {wildcards.variant:q} \
            --scale {wildcards.scale:q} --seed {wildcards.seed} \
            --settings-digest {params.settings} --source-digest {params.source} --threads {threads} \
            --checkpoint {input.checkpoint:q} --dataset {input.dataset:q} --out {output:q} >{log:q} 2>&1
        """


rule record:
    input:
        checkpoint=checkpoint_of,
        dataset=demonstrations_of,
    output:
        "data/runs/{scale}/{experiment}/{variant}/seed_{seed}/recording.npz",
    log:
        "data/logs/record/{scale}/{experiment}/{variant}/seed_{seed}.log",
    benchmark:
        "data/benchmarks/record/{scale}/{experiment}/{variant}/seed_{seed}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=gpus_of,
        gpu_model=gpu_model_of,
        gres=gres_of,
        mem_mb=memory_of_model,
        runtime=evaluation_minutes,
        slurm_partition=partition_of,
    params:
        settings=evaluate_settings,
        source=record_source,
    shell:
        r"""
        python -m memdt record --experiment {wildcards.experiment:q} --variant {wildcards.variant:q} \
            --scale {wildcards.scale:q} --seed {wildcards.seed} \
            --settings-digest {params.settings} --source-digest {params.source} --threads {threads} \
            --checkpoint {input.checkpoint:q} --dataset {input.dataset:q} --out {output:q} >{log:q} 2>&1
        """
