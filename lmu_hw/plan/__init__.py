"""When and where it is computed: configuration, schedule, memories, and images."""
