"""What people call: one function for each step from a float model to joules."""
