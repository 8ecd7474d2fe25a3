"""What the Snakefile asks: which jobs there are, what is stale, what may run beside what."""
