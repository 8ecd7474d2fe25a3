# Messages when a run starts, ends or fails.


onstart:
    upstream.handle_sigterm_in_a_thread()
    keep_what_is_replaced(workflow.dag.needrun_jobs())
    print(status.plan_in_words(workflow.dag.needrun_jobs()), file=sys.stderr)


onsuccess:
    synchronise_records(starts=False)
    print_kept_files()
    print(status.end_in_words(workflow.dag.jobs, time.time() - STARTED), file=sys.stderr)


onerror:
    synchronise_records(starts=False)
    print_kept_files()
    print(status.failure_in_words(workflow.dag.needrun_jobs(), STARTED), file=sys.stderr)
