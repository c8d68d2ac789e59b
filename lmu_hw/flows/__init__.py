"""Open ASIC flows: cell libraries and synthesis."""
