"""Training under Ray Train: workers that are lost are replaced, and the run goes on."""
