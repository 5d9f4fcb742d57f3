"""What is done to the gateway's data while no gateway runs, or beside one: saved, restored, upgraded, checked. Blocks; knows no reactor."""
