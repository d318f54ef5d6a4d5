"""What priors are worth: battles foretold on unseen prompts, and decisions saved on replayed logs."""
