"""Real workloads, and a runner that compares methods on them over seeds."""
