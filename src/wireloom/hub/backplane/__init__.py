"""The ways between processes: each carries publications from hub to hub, and nothing else."""
