"""Projects: every setting from recordings to joules in one file, and the steps that follow it."""
