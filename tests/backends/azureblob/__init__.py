"""What only a volume on Azure can do wrong."""
