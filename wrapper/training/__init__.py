"""What training runs share: checkpoints and learning-rate schedules."""
