"""What takes a kernel with more than that of the test machine: run inside of a virtual machine by ``tests/integration/test_virtual_machine.py``."""
