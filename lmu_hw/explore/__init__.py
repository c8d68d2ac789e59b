"""Sweeps over networks, configurations, technologies and clocks, and what to choose from them."""
