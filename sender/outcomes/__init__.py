"""What became of each job: outcome, recorder, outcome log, and the summary of a run."""
