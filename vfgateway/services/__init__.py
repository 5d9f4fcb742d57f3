"""Policy: the only place where rules live."""
