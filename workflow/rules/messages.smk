# What people are told when a run starts, ends or fails.


onstart:
    print(status.plan_in_words(workflow.dag.needrun_jobs()), file=sys.stderr)


onsuccess:
    print(status.end_in_words(workflow.dag.jobs, time.time() - STARTED), file=sys.stderr)


onerror:
    print(status.failure_in_words(workflow.dag.needrun_jobs(), STARTED), file=sys.stderr)
