"""Settings: four YAML layers, and one ``resolve`` for Snakemake, command line and tests."""
