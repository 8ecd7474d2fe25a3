# What people are told when a run starts, ends or fails.


onstart:
    upstream.handle_sigterm_in_a_thread()
    keep_what_is_replaced(workflow.dag.needrun_jobs())
    print(status.plan_in_words(workflow.dag.needrun_jobs()), file=sys.stderr)


onsuccess:
    look_at_records(starts=False)
    tell_what_is_kept()
    print(status.end_in_words(workflow.dag.jobs, time.time() - STARTED), file=sys.stderr)


onerror:
    look_at_records(starts=False)
    tell_what_is_kept()
    print(status.failure_in_words(workflow.dag.needrun_jobs(), STARTED), file=sys.stderr)
