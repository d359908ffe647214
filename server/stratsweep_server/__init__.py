"""Stratsweep's server: finds the best parameters of a trading strategy."""
