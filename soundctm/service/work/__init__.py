"""What the service makes: jobs, the desk that takes them, batches through the pipeline, the models."""
