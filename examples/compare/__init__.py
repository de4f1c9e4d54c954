"""Compares methods on problems: equal tuning, fresh seeds, the baselines that everybody has, records of every run."""
