"""Integers and hardware: the arithmetic contract, the golden model, the plan and the accelerator."""
