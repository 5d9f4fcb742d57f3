"""What HTTP front ends share."""
