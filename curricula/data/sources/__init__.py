"""Where the batches of a task come from: an order of samples, a stream, and what runs inside a worker process."""
