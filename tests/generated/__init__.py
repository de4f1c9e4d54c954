"""Trainers that are made at random from a seed, as users have them: ways, parts, runs, comparisons, resumes."""
