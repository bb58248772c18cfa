"""What a job is: its kinds, its identity, the problems it can have, and how its personal data is masked."""
