"""What is around the system on a board: clock, reset, pins."""
