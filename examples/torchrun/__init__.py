"""Training under torchrun: several processes, several machines, machines that come and go."""
