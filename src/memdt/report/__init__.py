"""Published numbers against reproduced ones: tables, verdicts, claims and the report."""
