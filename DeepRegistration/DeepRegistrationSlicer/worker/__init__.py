"""The process that computes, and what it is asked: a registration, the devices, the methods."""
