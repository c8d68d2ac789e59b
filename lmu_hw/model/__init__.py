"""What is computed: formats, the quantized network, its golden model, and its bounds."""
