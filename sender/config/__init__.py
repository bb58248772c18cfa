"""Settings: what they are, where they come from (command line, environment, file), and how they change in a run."""
