"""What keeps a training going: the loop, its options, checkpoints, logs, stopping, sharding."""
