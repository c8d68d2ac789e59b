"""The accelerator in Amaranth, one component per concern."""
