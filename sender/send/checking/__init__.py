"""`sender validate`: the lines of all inputs checked, here or in other processes, and told in their order."""
