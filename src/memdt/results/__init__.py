"""From episodes to tables, verdicts and claims."""
