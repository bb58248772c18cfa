"""The engine: lanes that start jobs at their pace, attempts, and what follows from each answer."""
