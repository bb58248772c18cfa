"""Objects in buckets and on the web as inputs: kept in a private file, so that all of a run reads the same bytes."""
