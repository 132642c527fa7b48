"""What trainings learn from: sources, rows, batches, stored trajectories."""
