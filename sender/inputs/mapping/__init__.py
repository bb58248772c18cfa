"""From a row to a job: a mapping is a job as JSON whose leaves hold `{{column}}` (docs/tables.md, "Mapping")."""
