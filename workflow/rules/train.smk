# A curriculum is a chain of jobs: stage k starts from the checkpoint of stage k-1.


rule train:
    input:
        dataset=dataset_of,
        start=start_of,
    output:
        checkpoint="data/runs/{scale}/{experiment}/{variant}/seed_{seed}/stage_{stage}/checkpoint.safetensors",
        curve="data/runs/{scale}/{experiment}/{variant}/seed_{seed}/stage_{stage}/curve.csv",
        manifest="data/runs/{scale}/{experiment}/{variant}/seed_{seed}/stage_{stage}/manifest.json",
    log:
        "data/logs/train/{scale}/{experiment}/{variant}/seed_{seed}/stage_{stage}.log",
    benchmark:
        "data/benchmarks/train/{scale}/{experiment}/{variant}/seed_{seed}/stage_{stage}.tsv"
    priority: chain_left
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=gpus_of,
        gpu_model=gpu_model_of,
        gres=gres_of,
        mem_mb=memory_of_training,
        runtime=training_minutes,
        slurm_partition=partition_of,
    params:
        settings=train_settings,
        source=train_source,
        out=lambda wildcards, output: Path(output.checkpoint).parent,
    shell:
        r"""
        python -m memdt train --experiment {wildcards.experiment:q} --variant {wildcards.variant:q} \
            --scale {wildcards.scale:q} --seed {wildcards.seed} --stage {wildcards.stage} \
            --settings-digest {params.settings} --source-digest {params.source} --threads {threads} \
            --dataset {input.dataset:q} --start {input.start:q} --out {params.out:q} >{log:q} 2>&1
        """
