"""Settings: four YAML layers, one ``resolve`` for Snakemake, the command line and the tests."""
