"""From gates and their activity to energy."""
